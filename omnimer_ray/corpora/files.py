"""Where a corpus keeps its media, names that may be used there, and content hashes that are computed once per file."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from omnimer_ray.errors import ResultsError
from omnimer_ray.results import write_json

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


def content_hashes(paths: Iterable[Path], cache: Path) -> dict[Path, str]:
    """SHA-256 of every file's contents; a file whose path, size and time are known from before is not read again."""
    paths = list(paths)
    memo_path = cache / "hashes" / f"{hashlib.sha256(str(_common(paths)).encode()).hexdigest()[:16]}.json"
    memo = _read_memo(memo_path)
    stamps = {path: [path.stat().st_size, path.stat().st_mtime_ns] for path in paths}
    stale = [path for path in paths if memo.get(str(path), [None, None, ""])[:2] != stamps[path]]
    with ThreadPoolExecutor() as pool:
        for path, digest in zip(stale, pool.map(_sha256, stale), strict=True):
            memo[str(path)] = [*stamps[path], digest]
    if stale:
        with suppress(ResultsError):  # the memo only saves time
            write_json(memo_path, {str(path): memo[str(path)] for path in paths})
    return {path: str(memo[str(path)][2]) for path in paths}


def _common(paths: list[Path]) -> str:
    return os.path.commonpath([path.parent for path in paths]) if paths else ""


def _read_memo(path: Path) -> dict[str, list[int | str | None]]:
    """A memo that cannot be read is made again; it saves time only."""
    try:
        memo = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in memo.items() if isinstance(value, list) and len(value) == 3} if isinstance(memo, dict) else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
