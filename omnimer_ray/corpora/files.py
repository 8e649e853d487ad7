"""A corpus's media files: their places, permitted names, and content hashes that are computed once per file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from omnimer_ray.corpora.clips import Clip, named
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import write_json

VIDEO = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")
AUDIO = (".wav", ".mp3", ".flac", ".m4a", ".ogg", ".opus", ".aac", ".wma")
SETTLED_SEC = 2.0
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DRIVE = re.compile(r"[A-Za-z]:")


class MediaFolder:
    """The files of some folders of media, listed once. In `beside`, the folder of the annotations, only files that end as media do count."""

    def __init__(self, places: Iterable[Path], beside: Path | None = None) -> None:
        self.beside = beside
        self._listed = {place: _listed(place) for place in places}

    def find(self, name: str, places: Sequence[Path]) -> list[Path]:
        """Return the file of this name, else the files whose names differ only in capitals; only the first folder with a match counts."""
        if unsafe_name(name):
            return []
        alike = [self._listed.get(place, {}).get(name.casefold(), []) for place in places]
        exact = [path for paths in alike for path in paths if path.name == name]
        return exact[:1] or next((paths for paths in alike if paths), [])

    def strays(self, used: Collection[Path], suffixes: Collection[str], excluded: Collection[str]) -> list[Path]:
        """Return the files that no clip uses; of those beside the annotations only files that end as media do, and no excluded clips' files."""
        left_out, found = {name.casefold() for name in excluded}, []
        for place, listed in self._listed.items():
            for path in (path for paths in listed.values() for path in paths):
                is_media = place != self.beside or path.suffix.lower() in suffixes
                if is_media and path not in used and path.stem.casefold() not in left_out:
                    found.append(path)
        return sorted(found)


def _listed(place: Path) -> dict[str, list[Path]]:
    """Return the files of a folder by case-folded name; empty if there is no folder."""
    files: dict[str, list[Path]] = {}
    if place.is_dir():
        for path in sorted(place.iterdir()):
            if path.is_file():
                files.setdefault(path.name.casefold(), []).append(path)
    return files


def same_content(clips: Sequence[Clip]) -> list[str]:
    """Return a line for every content that the files of several clips share, those on both sides of a split first."""
    holders: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        for what, content in (("video", clip.video_hash), ("wav", clip.audio_hash)):
            if content is not None:
                holders[what, content].append(clip)
    shared: dict[tuple[str, ...], list[str]] = defaultdict(list)  # ids of the clips -> what they share
    groups: dict[tuple[str, ...], list[Clip]] = {}
    for (what, _), group in holders.items():
        if len(group) > 1:
            ids = tuple(clip.id for clip in group)
            groups[ids] = group
            shared[ids].append(what)
    order = sorted(groups, key=lambda ids: len({clip.split for clip in groups[ids]}) == 1)
    return [f"identical {' and '.join(shared[ids])} files in {_sides(groups[ids])}: {named(groups[ids])}" for ids in order]


def _sides(clips: Sequence[Clip]) -> str:
    counts = Counter(clip.split for clip in clips)
    both = ", on both sides of the split (" + ", ".join(f"{count} {split}" for split, count in counts.items()) + ")"
    return f"{len(clips)} clips" + (both if len(counts) > 1 else "")


def unsafe_name(name: str) -> str | None:
    """Reason why a media name from an annotation file must not be opened, or None."""
    if _URL.match(name):
        return "is a URL; fetch the file and give its name"
    if not name or name != name.strip() or any(ord(character) < 32 for character in name):
        return "is empty, or holds control characters or outer spaces"
    if "/" in name or "\\" in name or _DRIVE.match(name) or name in (".", ".."):
        return "would leave the corpus folder; give a plain file name"
    return None


def content_hashes(paths: Iterable[Path], cache: Path | None) -> dict[Path, str]:
    """SHA-256 of every file's contents. With a cache, a file with a known stamp is not read again."""
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
    """Key of a memoised hash: path, size and times. The time of change cannot be set back, unlike the time of modification."""
    return _digest(f"{path.absolute()}|{found.st_size}|{found.st_mtime_ns}|{found.st_ctime_ns}")[:32]


def is_settled(found: os.stat_result) -> bool:
    """Whether every later change of the file gives another stamp: the clocks of file systems are coarse."""
    return time.time() - found.st_ctime > SETTLED_SEC


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _common(paths: list[Path]) -> str:
    return os.path.commonpath([path.parent for path in paths]) if paths else ""


def _read_memo(path: Path) -> dict[str, str]:
    """Hashes by stamp; an unreadable memo counts as empty. Nodes that share the cache but not the files have separate entries."""
    try:
        memo = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in memo.items() if isinstance(value, str)} if isinstance(memo, dict) else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
