"""What tells, without reading it, that a file is another one or has been written to."""

from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[int, ...]

_MISSING: Stamp = ()


def stamp(path: Path) -> Stamp:
    """Return device, inode, size and times of the file that a path leads to through all its links; () for none.

    The time of change is among them because nobody can set it: copies that keep the time of modification are common.
    """
    try:
        found = path.stat()
    except OSError:
        return _MISSING
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def stamps(paths: Iterable[Path]) -> dict[Path, Stamp]:
    """Return the stamp of each of these paths."""
    return {path: stamp(path) for path in paths}
