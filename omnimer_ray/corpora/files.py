"""Where a corpus keeps its media, names that may be used there, and content hashes that are computed once per file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from omnimer_ray.errors import ResultsError
from omnimer_ray.results import write_json

SETTLED_SEC = 2.0
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DRIVE = re.compile(r"[A-Za-z]:")


class MediaPlaces(NamedTuple):
    """The folders that are looked through, in this order, for a clip's video and its wav."""

    videos: tuple[Path, ...]
    audio: tuple[Path, ...]

    @classmethod
    def of(cls, folder: Path) -> MediaPlaces:
        """`videos/` and `audio/` under the folder, then the folder itself."""
        return cls((folder / "videos", folder), (folder / "audio", folder))


def find(name: str, places: Iterable[Path]) -> Path | None:
    """The first file of this name; whether it holds what it should is for the media room to say. Nothing outside is looked for."""
    return None if unsafe_name(name) else next((place / name for place in places if (place / name).is_file()), None)


def unsafe_name(name: str) -> str | None:
    """Why a media name from an annotation file must not be opened, or None."""
    if _URL.match(name):
        return "is a URL; fetch the file and give its name"
    if not name or name != name.strip() or any(ord(character) < 32 for character in name):
        return "is empty, or holds control characters or outer spaces"
    if "/" in name or "\\" in name or _DRIVE.match(name) or name in (".", ".."):
        return "would leave the corpus folder; give a plain file name"
    return None


def content_hashes(paths: Iterable[Path], cache: Path | None) -> dict[Path, str]:
    """SHA-256 of every file's contents. With a cache, a file whose stamp is known from before is not read again."""
    paths = list(paths)
    seen = {path: path.stat() for path in paths}  # before reading: a settled file that changes meanwhile gets another stamp
    stamps = {path: stamp(path, found) for path, found in seen.items()}
    settled = {path for path, found in seen.items() if is_settled(found)}
    memo_path = cache / "hashes" / f"{_digest(_common(paths))[:16]}.json" if cache else None
    memo = _read_memo(memo_path) if memo_path else {}
    stale = [path for path in paths if stamps[path] not in memo]
    with ThreadPoolExecutor() as pool:
        hashed = dict(zip(stale, pool.map(_sha256, stale), strict=True))
    if memo_path and settled & hashed.keys():
        with suppress(ResultsError):  # the memo only saves time
            write_json(memo_path, memo | {stamps[path]: digest for path, digest in hashed.items() if path in settled})
    return {path: hashed.get(path) or memo[stamps[path]] for path in paths}


def stamp(path: Path, found: os.stat_result) -> str:
    """Key of a memoised hash: path, size and times. The time of change cannot be set back, as that of modification can."""
    return _digest(f"{path.absolute()}|{found.st_size}|{found.st_mtime_ns}|{found.st_ctime_ns}")[:32]


def is_settled(found: os.stat_result) -> bool:
    """Whether any later change of the file will give it another stamp; the clocks of file systems are coarse."""
    return time.time() - found.st_ctime > SETTLED_SEC


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _common(paths: list[Path]) -> str:
    return os.path.commonpath([path.parent for path in paths]) if paths else ""


def _read_memo(path: Path) -> dict[str, str]:
    """Hashes by stamp; a memo that cannot be read is made again. Nodes that share a cache, and not the files, have their own entries."""
    try:
        memo = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in memo.items() if isinstance(value, str)} if isinstance(memo, dict) else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
