"""What lies in an ONNX model's files: whether they are whole, their digest, and how they come into memory."""

import hashlib
import mmap
import os
import posixpath
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.external_data import (
    MARK,
    DamagedGraphError,
    ExternalTensor,
    embed,
    external_tensors,
    top_level_end,
)
from inferqueue_worker.stamps import Stamp, stamp

Buffer = bytes | mmap.mmap

_CHUNK = 1 << 20
_DAMAGED = "The file is damaged or is no ONNX model."
_BESIDE = "The weights must lie beside the model file, inside its folder, or be linked there"
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# ONNX Runtime takes tensors of nodes and subgraphs inside the graph only; small ones it needs to infer shapes.
_SMALL = 1 << 16
# What ONNX Runtime can copy: 2 GiB is protobuf's limit.
_LARGEST_COPY = (1 << 31) - 1
# Up to here files are read, so that nothing that happens to them matters any more. Larger ones are mapped until ONNX
# Runtime has copied them: beside that copy, a second one in memory could be more than a container has.
_MOST_READ = 1 << 28


class Loadable(Struct, frozen=True):
    """What ONNX Runtime is given: the graph's path, or its bytes with the files they name in `buffers`.

    `in_place` says that it is to use the buffers as long as the session lives, rather than copy them.
    """

    graph: str | bytes
    buffers: dict[str, Buffer]
    in_place: bool = False

    def release(self) -> None:
        """Give back the memory of the buffers; to be called when ONNX Runtime has its copy."""
        if not self.buffers:
            return
        for buffer in self.buffers.values():
            if isinstance(buffer, mmap.mmap):
                buffer.close()
        self.buffers.clear()
        # Freed blocks that glibc keeps for later were a quarter of the memory of a worker with 400 MB of weights.
        import ctypes

        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)


def check_whole(path: Path) -> None:
    """Raise ModelLoadError if a file of the model is missing, empty, cut short, or a mere pointer to a file."""
    _check_graph(path)
    for location, needed in _ranges(external_data(path)).items():
        place = locate(path, location)
        _check_weights(place, needed, f"cannot load {path}: its weights {place} are")


def external_data(path: Path) -> tuple[ExternalTensor, ...]:
    """Return the tensors of a model whose bytes lie in other files; raise ModelLoadError for a damaged graph."""
    return _external_data(path, stamp(path))


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the other files that a model names, sorted, whether they are there or not; none for an unusable graph."""
    try:
        locations = {tensor.location for tensor in external_data(path)}
        return tuple(locate(path, location) for location in sorted(locations))
    except (ModelLoadError, OSError):
        return ()


def locate(path: Path, location: str) -> Path:
    """Return the file that a graph names: beside the graph, or where the graph is a link, beside what it links to.

    Links are followed wherever they lead: the owner of the repository made them. The graph itself, which may come
    from anywhere, can name no file outside its folder: ModelLoadError.
    """
    inside = posixpath.normpath(location)
    if not location or posixpath.isabs(inside) or inside.split("/")[0] in ("..", "."):
        raise ModelLoadError(f"cannot load {path}: it names weights at {location!r}, outside its folder. {_BESIDE}")
    places = [folder / inside for folder in (path.parent, path.resolve().parent)]
    return next((place for place in places if place.exists()), places[0])


def digest(path: Path) -> str:
    """Return `sha256:` and a hex digest; '' when there is no file.

    It is that of the file or, where the model has external data, that of lines `<hex digest> <location>`: of the graph,
    whose location is empty, and of each other file by location.
    """
    if not path.is_file():
        return ""
    own = _sha256(path)
    try:
        locations = sorted({tensor.location for tensor in external_data(path)})
    except ModelLoadError:
        locations = []
    if not locations:
        return f"sha256:{own}"
    lines = [f"{own} \n", *(f"{_sha256(locate(path, location))} {location}\n" for location in locations)]
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def loadable(path: Path, *, rehearsal: bool = False) -> Loadable:
    """Return a whole model as ONNX Runtime can load it, without any file that it would keep mapped.

    A mapped file that someone writes to changes the answers at once, and ends the process with SIGBUS when it shrinks.
    A session for a `rehearsal`, which answers nothing, maps them all the same. Raises ModelLoadError.
    """
    tensors = external_data(path)
    if not tensors:
        return Loadable(str(path), {})
    in_place = rehearsal or any(tensor.length > _LARGEST_COPY for tensor in tensors)
    places = {location: locate(path, location) for location in {tensor.location for tensor in tensors}}
    read = not rehearsal and (in_place or sum(place.stat().st_size for place in places.values()) <= _MOST_READ)
    buffers = {location: place.read_bytes() if read else _mapped(place) for location, place in places.items()}

    def content(tensor: ExternalTensor) -> bytes | None:
        if tensor.initializer and tensor.length > _SMALL:
            return None
        part = buffers[tensor.location][tensor.offset : tensor.offset + tensor.length]
        if len(part) < tensor.length:
            raise ModelLoadError(f"{places[tensor.location]} was cut short while it was loaded. Copy it again")
        return part

    return Loadable(embed(path.read_bytes(), content), buffers, in_place)


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _check_graph(path: Path) -> None:
    failure = f"cannot load {path}: it is"
    if not path.is_file():
        raise ModelLoadError(f"{failure} not there{_link(path)}. Copy the model there, or link it")
    _check_pointer(path, failure)
    size = path.stat().st_size
    if not size:
        raise ModelLoadError(f"{failure} empty, 0 bytes. No graph was found. {_DAMAGED} Copy it again")
    with path.open("rb") as file:
        try:
            end = top_level_end(size, lambda start, count: os.pread(file.fileno(), count, start))
        except DamagedGraphError as error:
            raise ModelLoadError(f"{failure} no graph: {error}. {_DAMAGED}") from None
    if end > size:
        raise ModelLoadError(f"{failure} cut short, {size} of {end} bytes. {_DAMAGED} Copy it again")


def _check_weights(path: Path, needed: int, failure: str) -> None:
    if not path.is_file():
        raise ModelLoadError(f"{failure} not there{_link(path)}. {_BESIDE}")
    _check_pointer(path, failure)
    size = path.stat().st_size
    if not size:
        raise ModelLoadError(f"{failure} empty, 0 of {needed} bytes. Copy them again")
    if size < needed:
        raise ModelLoadError(f"{failure} cut short, {size} of {needed} bytes. Copy them again")


def _check_pointer(path: Path, failure: str) -> None:
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise ModelLoadError(f"{failure} a pointer of Git LFS, not the file itself. Run `git lfs pull`")


def _link(path: Path) -> str:
    return f" (it is a link to {path.readlink()})" if path.is_symlink() else ""


def _ranges(tensors: Iterable[ExternalTensor]) -> dict[str, int]:
    """Return by location how many bytes a file needs at least."""
    needed: dict[str, int] = {}
    for tensor in tensors:
        needed[tensor.location] = max(needed.get(tensor.location, 0), tensor.offset + tensor.length)
    return needed


# A worker asks about the same few files again and again; the stamp says whether they still are the same.
@lru_cache(maxsize=4)
def _external_data(path: Path, _: Stamp) -> tuple[ExternalTensor, ...]:
    if not _contains(path, MARK):
        return ()
    try:
        return external_tensors(path.read_bytes())
    except DamagedGraphError as error:
        raise ModelLoadError(f"cannot load {path}: {error}. {_DAMAGED} Copy it again") from None


def _contains(path: Path, mark: bytes) -> bool:
    """Tell whether a file holds these bytes, reading it by pieces: a graph may have its 2 GB of weights inside."""
    piece = bytearray(_CHUNK)
    kept = len(mark) - 1  # a mark may begin in one piece and end in the next
    with path.open("rb", buffering=0) as file:
        filled = 0
        while count := file.readinto(memoryview(piece)[filled:]):
            end = filled + count
            if piece.find(mark, 0, end) >= 0:
                return True
            filled = min(kept, end)
            piece[:filled] = piece[end - filled : end]
    return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
