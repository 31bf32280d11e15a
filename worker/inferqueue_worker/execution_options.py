"""How ONNX Runtime is asked to run a model: what model.yaml says of threads, optimisation, providers and libraries."""

import importlib
from pathlib import Path
from typing import Any

from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.ort import onnxruntime as ort
from inferqueue_worker.repository import ModelFiles, Threads, is_extensions

_ERRORS_ONLY = 3
_CPU = "CPUExecutionProvider"
_OPTIMIZATION = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}

Provider = str | tuple[str, dict[str, str]]


def session_options(files: ModelFiles, intra_op_threads: int) -> Any:
    """Return the SessionOptions for a model; `intra_op_threads` holds where model.yaml says nothing of threads.

    Raises ModelLoadError for a library that is not there or does not load.
    """
    config = files.config
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    threads = config.threads if isinstance(config.threads, Threads) else Threads(intra_op=config.threads)
    options.intra_op_num_threads = threads.intra_op or intra_op_threads
    options.inter_op_num_threads = threads.inter_op
    if threads.inter_op > 1:
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    # Spinning threads would make an idle worker look busy and slow its neighbours down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # An arena keeps the memory of the largest batch for good; without it runs are as fast.
    options.enable_cpu_mem_arena = False
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _OPTIMIZATION[config.graph_optimization])
    for key, value in config.session_config.items():
        options.add_session_config_entry(key, _text(value))
    for name in config.custom_op_names:
        _register(options, name, files)
    return options


def providers(files: ModelFiles) -> list[Provider]:
    """Return the execution providers for a model in order; raise ModelLoadError for one that ONNX Runtime lacks."""
    wanted = files.config.execution_provider_options
    lacking = [name for name in wanted if name not in ort.get_available_providers()]
    if lacking:
        raise ModelLoadError(
            f"{files.config_path}: execution_providers names {lacking[0]!r}, which this build of ONNX Runtime lacks; "
            f"it has {', '.join(ort.get_available_providers())}. Put a build that has it into the worker's image"
        )
    if not wanted:
        return [_CPU]
    return [(name, {key: _text(value) for key, value in options.items()}) for name, options in wanted.items()]


def check_providers(files: ModelFiles, running: list[str]) -> None:
    """Raise ModelLoadError if a provider that model.yaml names did not start: ONNX Runtime leaves it out, and runs."""
    missing = [name for name in files.config.execution_provider_options if name not in running]
    if missing:
        raise ModelLoadError(
            f"{files.config_path}: execution_providers names {missing[0]!r}, which did not start on this machine (its "
            f"device or its libraries are missing); {', '.join(running)} did. Mend that, or take it out of the list"
        )


def _register(options: Any, name: str, files: ModelFiles) -> None:
    library = _extensions(files) if is_extensions(name) else files.config_path.parent / name
    if not library.is_file():
        raise ModelLoadError(
            f"{files.config_path}: custom_ops names {name!r}, and there is no file {library}; a path is relative to "
            f"{files.config_path.parent}"
        )
    try:
        options.register_custom_ops_library(str(library.resolve()))
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ModelLoadError(
            f"{files.config_path}: custom_ops names {name!r}, and {library} is no library of operators that loads "
            f"here: {reason}"
        ) from error


def _extensions(files: ModelFiles) -> Path:
    try:
        return Path(importlib.import_module("onnxruntime_extensions").get_library_path())
    except ImportError as error:
        raise ModelLoadError(
            f"{files.config_path}: custom_ops names 'onnxruntime-extensions', which is not installed ({error}). Run "
            "`pip install onnxruntime-extensions` in the worker's image"
        ) from None


def _text(value: str | int | float) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
