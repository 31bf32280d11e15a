"""`inferqueue-worker check MODEL`: what a model is, whether it batches, and how fast it is."""

import sys
from pathlib import Path

from inferqueue_core.models import ModelInfo, TensorSpec
from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.graph import RowReading
from inferqueue_worker.repository import CONFIG_FILE, MODEL_FILE, ModelFiles, find_model, read_config
from inferqueue_worker.results import classifier_outputs
from inferqueue_worker.row_trial import RowTrial
from inferqueue_worker.sampling import SHARE
from inferqueue_worker.served_model import ServedModel, load_model
from inferqueue_worker.trial import Trial

_VERDICTS = {
    "apart": "it keeps rows apart",
    "mixed": "rows depend on each other",
    "undecided": "it leaves open whether rows stay apart",
}


def check(model: str, repository: Path) -> int:
    """Print what the model at a path, or of that name in `repository`, is; give 0, or 1 when it cannot be served."""
    try:
        served = load_model(locate(model, repository), None, intra_op_threads=1)
    except ModelLoadError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(describe(served)))
    return 0


def locate(model: str, repository: Path) -> ModelFiles:
    """Find the model that a file, a folder or a name stands for; raise ModelLoadError when it stands for none."""
    path = Path(model)
    if path.exists():
        # With its links, where there is no `..` to follow: weights lie beside the link, not beside what it leads to.
        path = path.resolve() if ".." in path.parts else path.absolute()
    if path.is_file():
        configs = (path.parent / CONFIG_FILE, path.parent.parent / CONFIG_FILE)
        config = next((found for found in configs if found.is_file()), configs[0])
        return ModelFiles(path.stem, "1", path, read_config(config), config)
    if path.is_dir() and (path / MODEL_FILE).is_file():
        return locate(str(path / MODEL_FILE), repository)
    if path.is_dir():
        return find_model(path.parent, path.name)
    return find_model(repository, model)


def describe(served: ServedModel) -> list[str]:
    """Describe a served model in lines of text."""
    info = served.info("predict_queue")
    trial = served.trial
    lines = [
        f"{served.files.path}  {info.digest[:19]}…" if info.digest else str(served.files.path),
        *(f"  input   {_spec(spec)}" for spec in info.inputs),
        *(f"  output  {_output(spec, info)}" for spec in info.outputs),
        f"  classes {_classes(info)}" if info.classes or info.labels else "",
        "  results are those of a classifier: prediction, class_name, probabilities"
        if classifier_outputs(info)
        else "",
        f"  batches: {'yes' if trial.batchable else 'no'}, {trial.reason}",
        *(f"    {line}" for line in prove(served.signature.reading, trial)),
    ]
    for timing in trial.timings:
        mark = "  <- most rows in one run" if timing.rows == trial.max_rows and trial.batchable else ""
        rate = f"{timing.rows_per_second:12,.0f} rows/s"
        lines.append(f"  {timing.rows:6d} rows {timing.seconds * 1000:10.3f} ms {rate}{mark}")
    lines.append(f"  a worker claims up to {served.jobs_per_claim} jobs at once")
    return [line for line in lines if line]


def prove(reading: RowReading | None, trial: Trial) -> list[str]:
    """Say what was read of the graph, what was tried, which of them decided, and what is still looked at."""
    read = "no graph"
    if reading is not None:
        read = "; ".join(filter(None, (f"the graph: {_VERDICTS[reading.verdict]}", reading.reason)))
    lines = [f"read     {read}", f"tried    {_tried(trial.rows)}", f"decided  by the {trial.decider}"]
    if trial.batchable:
        lines.append(
            f"sampled  the first batch, and then batches for {SHARE:.0%} of the time, are run job by job as well while "
            "it serves; a difference ends batches"
        )
    return lines


def _tried(rows: RowTrial | None) -> str:
    if rows is None:
        return "no rows together"
    text = f"{rows.rows} rows alone"
    if rows.orders:
        sizes = sorted({len(order) for order in rows.orders})
        text += f", and in {len(rows.orders)} orders of {', '.join(map(str, sizes))} rows together"
    return f"{text}; the model refused {rows.refused} others" if rows.refused else text


def _classes(info: ModelInfo) -> str:
    """Name the classes in the order of the probabilities, with their labels where these are something else."""
    if not info.labels or info.labels == info.classes:
        return ", ".join(info.classes)
    if not info.classes:
        return ", ".join(map(str, info.labels))
    return ", ".join(f"{name} ({label})" for name, label in zip(info.classes, info.labels, strict=True))


def _spec(spec: TensorSpec) -> str:
    shape = "of any shape" if spec.any_shape else list(spec.shape)
    return f"{spec.name}: {spec.datatype} {shape}"


def _output(spec: TensorSpec, info: ModelInfo) -> str:
    return f"{spec.name}: a sequence or map, as JSON" if spec.name in info.json_outputs else _spec(spec)
