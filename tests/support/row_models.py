"""Models whose rows mix, in every way that operators allow, and models whose rows do not: with requests to each.

Each is some statements from `x` to `y`, in the text form of onnx.parser (`row_model_texts/`), put into a graph at some
depth: between layers of other operators, in a branch, in a loop, in a function of the model.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import onnx.parser
from onnx import ModelProto

from inferqueue_core.datatypes import Array

_OPSET, _IR_VERSION = 20, 9
_ROWS = "float[rows, 4]"
_TEXTS = Path(__file__).with_name("row_model_texts")
_REDUCTIONS = (
    *("ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceLogSumExp", "ReduceSumSquare"),
)


class Place(StrEnum):
    """Where in the graph the statements stand."""

    TOP = "top"
    DEEP = "deep"
    BRANCH = "branch"
    LOOP = "loop"
    FUNCTION = "function"


@dataclass(frozen=True, slots=True)
class RowModel:
    """A model with one input `x0` of the type `kind` and one output `y0`, declared as `output`.

    `repeatable` is False where the same request has another answer each time.
    """

    name: str
    statements: str
    kind: str = "float"
    output: str = _ROWS
    repeatable: bool = True

    @property
    def places(self) -> tuple[Place, ...]:
        """The places in the graph at which the statements can stand."""
        if self.kind != "float":
            return (Place.TOP, Place.FUNCTION)
        if self.output != _ROWS:
            return (Place.TOP, Place.DEEP, Place.FUNCTION)
        return tuple(Place)

    def model(self, place: Place) -> ModelProto:
        """Build the model with its statements at `place`."""
        head = f'<ir_version: {_IR_VERSION}, opset_import: ["": {_OPSET}, "local": 1]>'
        shape = "rows" if self.kind == "string" else "rows, 4"
        graph = f"g ({self.kind}[{shape}] x0) => ({self.output} y0)"
        functions = ""
        if place is Place.FUNCTION:
            functions = f'<domain: "local", opset_import: ["": {_OPSET}]>\nCore (x) => (y) {{\n{self.statements}\n}}'
        return onnx.parser.parse_model(f"{head}\n{graph} {{\n{_WRAPPERS[place](self)}\n}}\n{functions}")

    def requests(self) -> list[dict[str, Array]]:
        """Return 16 requests of one to three rows, whose numbers are of very different scales."""
        random = np.random.default_rng(0)
        return [{"x0": self._rows(random, 1 + number % 3)} for number in range(16)]

    def _rows(self, random: np.random.Generator, count: int) -> Array:
        if self.kind == "string":
            words = [" ".join(["ab", "c", "def"][: random.integers(1, 4)]) for _ in range(count)]
            return np.array(words, dtype=object)
        if self.kind == "uint8":
            return random.integers(0, 256, (count, 4)).astype(np.uint8)
        scale = 10.0 ** random.integers(-1, 3)
        return (random.normal(size=(count, 4)) * scale).astype(np.float32)


def _top(case: RowModel) -> str:
    return f"x = Identity(x0)\n{case.statements}\ny0 = Identity(y)"


def _deep(case: RowModel) -> str:
    before = "half = Constant <value = float {0.5}> ()\nx1 = Mul(x0, half)\nx2 = Sigmoid(x1)\nx3 = Add(x2, x1)"
    return f"{before}\nx = Mul(x3, x3)\n{case.statements}\ny1 = Identity(y)\ny0 = Identity(y1)"


def _branch(case: RowModel) -> str:
    # ONNX Runtime cannot fold this condition away: it is computed from the shape of the input.
    width = "sizes = Shape <start = 1> (x)\nwidth = ReduceSum <keepdims = 0> (sizes)"
    condition = f"{width}\nnone = Constant <value = int64 {{0}}> ()\ntest = Greater(width, none)"
    branch = f"() => ({case.output} y) {{ {case.statements} }}"
    choice = f"y0 = If (test) <then_branch = one {branch}, else_branch = other {branch}>"
    return f"x = Identity(x0)\n{condition}\n{choice}"


def _loop(case: RowModel) -> str:
    inner = f"{case.statements}\ngo_on0 = Identity(go0)"
    body = f"turn (int64 turn0, bool go0, float[rows, 4] x) => (bool go_on0, {case.output} y) {{ {inner} }}"
    once = "turns0 = Constant <value = int64 {1}> ()\nyes0 = Constant <value = bool {1}> ()"
    return f"{once}\ny0 = Loop (turns0, yes0, x0) <body = {body}>"


def _call(case: RowModel) -> str:
    return "x1 = Identity(x0)\ny1 = local.Core(x1)\ny0 = Identity(y1)"


_WRAPPERS = {Place.TOP: _top, Place.DEEP: _deep, Place.BRANCH: _branch, Place.LOOP: _loop, Place.FUNCTION: _call}


def mixing() -> list[RowModel]:
    """Return the models in which a row's answer depends on the rows beside it."""
    return [*_reductions(), *_read("mixing.txt")]


def apart() -> list[RowModel]:
    """Return the models in which each row's answer depends on that row alone."""
    return _read("apart.txt")


def _reductions() -> Iterator[RowModel]:
    for operator in _REDUCTIONS:
        axis = "axis = Constant <value = int64[1] {0}> ()\n"
        yield RowModel(f"{operator} over axis 0", f"{axis}m = {operator} (x, axis)\ny = Sub(x, m)")
        yield RowModel(f"{operator} over all axes", f"m = {operator} <keepdims = 0> (x)\ny = Sub(x, m)")


def _read(file: str) -> list[RowModel]:
    """Read models of the form `## name | x: type | y: type | not repeatable`, then statements."""
    cases = []
    for text in re.split(r"^## ", (_TEXTS / file).read_text(), flags=re.MULTILINE)[1:]:
        head, _, statements = text.partition("\n")
        name, *notes = head.split(" | ")
        said = dict(note.split(": ") for note in notes if ": " in note)
        repeatable = "not repeatable" not in notes
        kind, output = said.get("x", "float"), said.get("y", _ROWS)
        cases.append(RowModel(name, statements.strip(), kind, output, repeatable))
    return cases


def variants(cases: Sequence[RowModel]) -> Iterator[tuple[str, RowModel, ModelProto]]:
    """Yield every case at every place in the graph that suits it, with a name for both."""
    for case in cases:
        for place in case.places:
            yield f"{case.name}, {place}", case, case.model(place)


def joined(requests: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Return the rows of all requests as one request, in their order."""
    return {"x0": np.concatenate([request["x0"] for request in requests])}
