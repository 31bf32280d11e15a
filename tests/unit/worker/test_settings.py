import pytest

from inferqueue_core.settings import SettingsError
from inferqueue_worker.settings import WorkerSettings


@pytest.mark.parametrize("name", ["", ".", "..", "../models/iris", "/etc"])
def test_a_model_name_is_that_of_one_folder(name: str) -> None:
    with pytest.raises(SettingsError, match="MODEL_NAME"):
        WorkerSettings.checked(model_name=name)


@pytest.mark.parametrize("name", ["", "host:1"])
def test_a_worker_name_fits_into_a_fence(name: str) -> None:
    with pytest.raises(SettingsError, match="WORKER_NAME"):
        WorkerSettings.checked(worker_name=name)
