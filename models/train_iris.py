"""Train the Iris classifier and write it into this model repository: `models/iris/1/model.onnx`.

Run it with `.venv/bin/python models/train_iris.py`. The same file comes out each time, byte for byte.
"""

from pathlib import Path

from onnx.helper import make_opsetid
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

REPOSITORY = Path(__file__).parent

# Exporters write their newest versions by default, which runtimes do not load yet; these load everywhere.
OPSETS = {"": 17, "ai.onnx.ml": 3}
IR_VERSION = 8


def train() -> Pipeline:
    """Fit scaling and logistic regression on Fisher's Iris set: 150 flowers, 4 lengths in cm, 3 species."""
    flowers = load_iris()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(flowers.data, flowers.target)
    # The solver's last digits differ between machines: without them the model is the same everywhere.
    regression = pipeline[-1]
    regression.coef_ = regression.coef_.round(4)
    regression.intercept_ = regression.intercept_.round(4)
    return pipeline


def export(pipeline: Pipeline) -> bytes:
    """Serialize to ONNX: `input` f32[N,4] → `label` i64[N], `probabilities` f32[N,3]."""
    model = to_onnx(
        pipeline,
        name="iris",
        initial_types=[("input", FloatTensorType([None, 4]))],
        options={"zipmap": False},
        target_opset=OPSETS,
    )
    model.ir_version = IR_VERSION
    del model.opset_import[:]  # the converter names a domain twice
    model.opset_import.extend(make_opsetid(domain, version) for domain, version in OPSETS.items())
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def main() -> None:
    target = REPOSITORY / "iris" / "1" / "model.onnx"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(export(train()))
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
