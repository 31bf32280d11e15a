import pytest
from pydantic import ValidationError

from inferqueue_worker.settings import WorkerSettings


@pytest.mark.parametrize("name", ["", ".", "..", "../models/iris", "/etc"])
def test_a_model_name_is_that_of_one_folder(name: str) -> None:
    with pytest.raises(ValidationError, match="model_name"):
        WorkerSettings(model_name=name)


@pytest.mark.parametrize("name", ["", "host:1"])
def test_a_worker_name_fits_into_a_fence(name: str) -> None:
    with pytest.raises(ValidationError, match="worker_name"):
        WorkerSettings(worker_name=name)
