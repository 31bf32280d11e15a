"""Operators of ai.onnx.ml and of text. Most take a tensor of one axis as a single row, whatever its length."""

from msgspec.structs import replace

from inferqueue_worker.graph.broadcasting import meet, relaid, without_rows
from inferqueue_worker.graph.calls import UNKNOWN_RANK, Call, Rule
from inferqueue_worker.graph.sizes import ROWS, Dim, product
from inferqueue_worker.graph.values import Lie, Shape, Value, rows

_ONE_ROW = "takes a tensor of one axis as a single row"


def _of_rows(call: Call, width: Dim | None) -> Value:
    """Return what is computed of rows along axis 0: `width` numbers for each, one where it is None."""
    value = call.value(0)
    rank = value.rank
    head = (1,) if rank == 1 or value.shape is None else value.shape[:1]
    shape: Shape | None = None if rank is None else (head if width is None else (*head, width))
    decided = without_rows(call, call.inputs, shape)
    if decided is not None or value.lie is None:
        return decided or call.mixed("takes settings from the rows", shape)
    if rank is None:
        return call.unknown(UNKNOWN_RANK, shape)
    if rank == 1:
        return call.mixed(_ONE_ROW, shape)
    if value.lie.axis != 0:
        return call.mixed(f"works along axis {value.lie.axis}, along which the rows lie", shape)
    return relaid(value, shape, 0)


def classify(call: Call) -> list[Value]:
    """A label for each row and a score for each of its classes."""
    return [_of_rows(call, None), _of_rows(call, call.size("classes"))]


def regress(call: Call) -> Value:
    return _of_rows(call, call.integer("n_targets", call.integer("targets", 1)))


def same_width(call: Call) -> Value:
    """Computed for each row from its features."""
    value = call.value(0)
    if value.rank is not None and value.rank > 2 and value.lie is not None:
        return call.unknown("takes a tensor of more than two axes", value.shape)
    return _of_rows(call, value.shape[1] if value.shape is not None and len(value.shape) == 2 else call.size("width"))


def by_feature(call: Call) -> Value:
    """Scaler and Imputer: by element where one number holds for all features, else by the feature's place."""
    names = ("offset", "scale") if call.node.operator == "Scaler" else ("imputed_value_floats", "imputed_value_int64s")
    given = [call.attribute(name) for name in names]
    if all(numbers is None or len(numbers) == 1 for numbers in given):
        return meet(call, [call.value(0)])
    value = call.value(0)
    if value.lie is not None and value.lie.axis == 1 and value.rank == 2:
        return call.mixed("treats each row as another feature", value.shape)
    return same_width(call)


def each_element(call: Call) -> Value:
    return meet(call, [call.value(0)])


def to_categories(call: Call) -> Value:
    """OneHotEncoder: a new last axis, of one place for each category."""
    value = call.value(0)
    categories = call.attribute("cats_int64s") or call.attribute("cats_strings") or ()
    shape = None if value.shape is None else (*value.shape, len(categories))
    decided = without_rows(call, [value], shape)
    if decided is not None or value.lie is None:
        return decided or relaid(value, shape)
    return relaid(value, shape, value.lie.axis)


def join_features(call: Call) -> Value:
    """FeatureVectorizer: the features of all inputs, row by row."""
    values = [value for value in call.inputs if value is not None]
    shape = None
    first = values[0].shape
    if first is not None:
        shape = (first[0] if len(first) > 1 else 1, call.size("features"))
    decided = without_rows(call, values, shape)
    if decided is not None:
        return decided
    for value in values:
        if value.lie is None or value.lie.axis != 0 or (value.lie.outer, value.lie.inner) != (1, 1):
            return call.mixed("joins the rows with other things", shape)
        if value.rank is None:
            return call.unknown(UNKNOWN_RANK, shape)
        if value.rank == 1:
            return call.mixed(_ONE_ROW, shape)
    return relaid(values[0], shape, 0)


def pick_features(call: Call) -> Value:
    """ArrayFeatureExtractor: by index along the last axis."""
    value, indices = call.value(0), call.value(1)
    shape = None
    if value.shape is not None and indices.shape is not None:
        head = (1,) if len(value.shape) == 1 else value.shape[:-1]
        shape = (*head, product(indices.shape))
    decided = without_rows(call, [value, indices], shape)
    if decided is not None:
        return decided
    if value.rank is None:
        return call.unknown(UNKNOWN_RANK, shape)
    if value.lie is None or not indices.settled:
        return call.mixed("takes elements where the rows say", shape)
    if value.lie.axis == value.rank - 1:
        return call.mixed("takes rows by a fixed number", shape)
    return relaid(value, shape, value.lie.axis)


def to_maps(call: Call) -> Value:
    """ZipMap: a sequence with a map for each row, which counts as one axis."""
    return _of_rows(call, None)


def normalize_text(call: Call) -> Value:
    """StringNormalizer: by element, unless it leaves words out."""
    value = call.value(0)
    decided = without_rows(call, [value], value.shape if not call.attribute("stopwords") else None)
    if decided is not None:
        return decided
    if call.attribute("stopwords"):
        return call.mixed("leaves rows out that are stop words")
    if value.rank is not None and value.rank > 1:
        return call.mixed("takes a single row of several texts", value.shape)
    return meet(call, [value])


def split_text(call: Call) -> list[Value]:
    """StringSplit: its first output is padded to the longest text of the run, its second counts each text's pieces."""
    value = call.value(0)
    return [_padded(call, value, b""), meet(call, [value])]


def tokenize(call: Call) -> Value:
    """Tokenizer of com.microsoft, padded with a text of its own."""
    return _padded(call, call.value(0), call.attribute("pad_value", b"#"))


def _padded(call: Call, value: Value, padding: bytes) -> Value:
    shape = None if value.shape is None else (*value.shape, call.size("longest"))
    decided = without_rows(call, [value], shape)
    if decided is not None:
        return decided
    result = call.mixed("pads each row to the longest text of its run")
    return replace(result, padding=padding) if value.rank == 1 and value.lie == Lie(0) else result


def count_phrases(call: Call) -> Value:
    """TfIdfVectorizer: rows of an axis each; padding counts for nothing unless it is a word that is looked for."""
    value = call.value(0)
    width: Dim = call.size("phrases")
    if value.padding is not None:
        words = call.attribute("pool_strings")
        return value if words is None or value.padding in words else rows((ROWS, width), Lie(0))
    return _of_rows(call, width)


def _one_map(call: Call) -> Value:
    found = without_rows(call, call.inputs, None)
    return found or call.mixed("takes one map for all rows")


RULES: dict[str, Rule] = {
    **dict.fromkeys(("LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"), classify),
    **dict.fromkeys(("LinearRegressor", "SVMRegressor", "TreeEnsembleRegressor", "TreeEnsemble"), regress),
    "Normalizer": same_width,
    **dict.fromkeys(("Scaler", "Imputer"), by_feature),
    **dict.fromkeys(("Binarizer", "LabelEncoder", "CategoryMapper"), each_element),
    "OneHotEncoder": to_categories,
    "FeatureVectorizer": join_features,
    "ArrayFeatureExtractor": pick_features,
    "ZipMap": to_maps,
    **dict.fromkeys(("CastMap", "DictVectorizer"), _one_map),
}
TEXT_RULES: dict[str, Rule] = {
    "StringNormalizer": normalize_text,
    "StringSplit": split_text,
    "TfIdfVectorizer": count_phrases,
}
