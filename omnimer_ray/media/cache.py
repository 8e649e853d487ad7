"""The media cache: decoded clips by content, shared by all runs, safe when several of them write at once.

`media/<key>.safetensors` holds one clip; `media/known/` remembers the hash of each source file, so that it is read once.
A file is written whole under another name and then renamed; a damaged file is written again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnimer_ray.corpora.files import is_settled, stamp
from omnimer_ray.errors import MachineError
from omnimer_ray.media.container import FETCH, Fault

Arrays = dict[str, NDArray[Any]]


class Kept(NamedTuple):
    """One entry of the cache."""

    arrays: Arrays
    about: dict[str, Any]


def source_hash(path: Path, cache: Path) -> str:
    """SHA-256 of a media file, memoised by its stamp; raises Fault if the file cannot be read."""
    found = check_file(path)
    settled = is_settled(found)
    memo = cache / "media" / "known" / stamp(path, found)
    try:
        if re.fullmatch(r"[0-9a-f]{64}", known := memo.read_text()):
            return known
    except (OSError, ValueError):
        pass  # no memo, or a damaged one: hash the file again
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Fault(f"{path}: it cannot be read ({error.strerror})", FETCH) from None
    if settled:
        _write(memo, digest.encode())
    return digest


def check_file(path: Path) -> os.stat_result:
    """Return the stat of a file that can be opened without blocking; raise Fault otherwise."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise Fault(f"{path}: it is absent", "put it there") from None
    except (OSError, ValueError) as error:
        raise Fault(f"{path}: it cannot be looked at ({getattr(error, 'strerror', error)})", "give a file that can be read") from None
    if not stat.S_ISREG(found.st_mode):
        raise Fault(f"{path}: it is a {'directory' if stat.S_ISDIR(found.st_mode) else 'pipe or device'}, not a file", "put the file there")
    if found.st_size == 0:
        raise Fault(f"{path}: it is empty (0 bytes)")
    if not os.access(path, os.R_OK):
        raise Fault(f"{path}: it may not be read (its permissions are {stat.filemode(found.st_mode)})", "make it readable")
    return found


def keep(place: Path, arrays: Arrays, about: dict[str, Any]) -> None:
    """Write an entry; a second writer replaces it by the same bytes. Raises MachineError if it cannot be written."""
    from safetensors.numpy import save

    _write(place, save(arrays, metadata={"about": json.dumps({**about, "crc": _crc(arrays, about)})}))


def kept(place: Path) -> Kept | None:
    """Return an entry, or None if it is absent or damaged and must be made again."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(place, framework="np") as file:
            about = json.loads(file.metadata()["about"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    if not isinstance(about, dict):
        return None
    return Kept(arrays, about) if about.pop("crc", None) == _crc(arrays, about) else None


def _crc(arrays: Arrays, about: dict[str, Any]) -> int:
    """Return a checksum of the contents, shapes and scalars; safetensors has none of its own."""
    shapes = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
    crc = zlib.crc32(json.dumps([about, shapes], sort_keys=True).encode())
    for name in sorted(arrays):
        crc = zlib.crc32(np.ascontiguousarray(arrays[name]).data, crc)
    return crc


def _write(place: Path, data: bytes) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".", delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(place)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise MachineError(
            f"the media cache {place.parent} cannot be written ({error.strerror}); free space, or name another one"
        ) from None
