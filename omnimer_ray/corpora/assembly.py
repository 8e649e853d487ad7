"""From annotated clips to a corpus: media files found, hashed and checked, splits checked, fingerprint. Shared by all readers of corpora.

A reader checks its annotation files and returns `Annotated` clips; everything that corpora have in common is here.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from omnimer_ray.config import content_hash
from omnimer_ray.corpora.clips import LABELLED, Clip, Corpus, Split, listed
from omnimer_ray.corpora.files import MediaFolder, content_hashes, same_content
from omnimer_ray.corpora.strict import Faults, Row
from omnimer_ray.errors import CorpusError, near

STAND_IN_FILE = "STAND_IN.json"
FINGERPRINTED = ("id", "source_video", "topic", "split", "text", *LABELLED, "video_hash", "audio_hash")  # of a clip


class Reading(NamedTuple):
    """How a corpus is read."""

    cache: Path
    media: Path | None = None  # folder of the media, if it is not that of the annotations
    exclude: Sequence[str] = ()  # ids of clips to leave out
    need_media: bool = True  # without it, absent files are no fault
    fingerprint: str | None = None  # given if a recipe determines the corpus


class Annotated(NamedTuple):
    """One clip of the annotation files, without its media."""

    id: str
    source_video: str
    topic: str
    split: Split
    text: str
    labels: Mapping[str, str]  # canonical; the keys are LABELLED's
    row: Row  # where it stands
    video: str  # name of its file, or empty
    audio: str  # empty: the video's own track
    videos: Sequence[Path]  # folders that may hold the video; the first that does counts
    sounds: Sequence[Path] = ()


class Release(NamedTuple):
    """What a reader finds in a folder of annotations."""

    clips: list[Annotated]
    files: MediaFolder
    reported: Split = "validation"  # the part that tables report
    development: Split | None = None  # the corpus's own development part
    notes: tuple[str, ...] = ()  # printed under every table
    excluded: Mapping[str, str] = {}  # left out by the reader: clip -> reason


Reader = Callable[[Path, Path, frozenset[str], Faults, list[str]], Release]


def assemble(name: str, folder: Path, read: Reader, how: Reading, *, missing: str, way_out: str) -> Corpus:
    """The corpus that `read(folder, media folder, excluded clips, faults, warnings)` describes.

    `missing` says what is to be given if there is no folder, `way_out` what to do if there are no media at all.
    Raises CorpusError with all faults at once.
    """
    if not folder.is_dir():
        raise CorpusError(f"{folder} is no folder; {missing}")
    folder, faults, warnings = folder.absolute(), Faults(), list[str]()
    media = how.media.absolute() if how.media else folder
    try:
        stand_in = _stand_in(folder, faults) or (_stand_in(media, faults) if how.media else None)
        release = read(folder, media, frozenset(how.exclude), faults, warnings)
        clips = _with_media(release, faults, warnings, how.need_media, way_out)
        excluded = tuple(sorted({*how.exclude, *release.excluded}))
        warnings += _strays(release, clips, excluded)
        faults.raise_any(str(folder))
        hashes = content_hashes(sorted({path for clip in clips for path in (clip.video_path, clip.audio_path) if path}), how.cache)
        clips = with_hashes(clips, hashes)
        if how.fingerprint is None:
            warnings += same_content(clips)
    except OSError as error:
        raise CorpusError(f"{error.filename}: cannot be read ({error.strerror}); look at its permissions") from None
    return Corpus(
        name,
        clips,
        how.fingerprint or _fingerprint(name, clips, excluded, stand_in),
        stand_in,
        excluded,
        tuple(warnings),
        release.reported,
        release.development,
        release.notes,
        release.excluded,
    )


def check_excluded(exclude: frozenset[str], known: set[str], folder: Path, faults: Faults) -> None:
    """Add a fault for every excluded name that is no clip."""
    for name in sorted(exclude - known):
        faults.add(f"exclude names {name!r}, which is no clip of {folder}; {near(name, known)}")


def check_parts(clips: Iterable[Annotated], parts: Iterable[Split], faults: Faults) -> None:
    """Add a fault for every part that has no clip."""
    present = {clip.split for clip in clips}
    for split in parts:
        if split not in present:
            faults.add(f"no clip is left in {split}; exclude fewer")


def sides_of(clips: Iterable[Annotated | Clip]) -> dict[str, Counter[str]]:
    """Number of clips of each source video in each part, of source videos in more than one part."""
    sides: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        sides[clip.source_video][clip.split] += 1
    return {video: splits for video, splits in sides.items() if len(splits) > 1}


def with_hashes(clips: Sequence[Clip], hashes: Mapping[Path, str]) -> tuple[Clip, ...]:
    """Clips with the hashes of their media, for the fingerprint and for workers, whose files must be the same."""
    return tuple(
        replace(
            clip,
            video_hash=hashes[clip.video_path] if clip.video_path else None,
            audio_hash=hashes[clip.audio_path] if clip.audio_path else None,
        )
        for clip in clips
    )


def _stand_in(folder: Path, faults: Faults) -> str | None:
    """Read the marker file of stand-ins and generated corpora."""
    path = folder / STAND_IN_FILE
    if not path.exists():
        return None
    try:
        words = json.loads(path.read_bytes())["stand_in"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        words = None
    if not isinstance(words, str) or not words:
        faults.add(f"{STAND_IN_FILE}: must hold a text under 'stand_in'; make the stand-ins again")
        return None
    return words


def _with_media(release: Release, faults: Faults, warnings: list[str], need_media: bool, way_out: str) -> tuple[Clip, ...]:
    """Return the clips with the files found; absent videos are faults, one for all of them if there is none at all."""
    ambiguous = faults if need_media else Faults()
    found = [
        (
            item,
            _file(item.row, item.video, release.files, item.videos, ambiguous),
            _file(item.row, item.audio, release.files, item.sounds, ambiguous),
        )
        for item in release.clips
    ]
    clips = tuple(_clip(*one) for one in found)
    _warn_of_capitals(release.clips, clips, warnings)
    absent = [item for item, video, _ in found if video is None and item.video]
    if need_media and absent and len(absent) == len(clips):
        faults.add(f"no media: none of {len(clips)} videos is in {_places(absent[0])}; name the folder that holds them{way_out}")
    elif need_media:
        for item in absent:
            faults.add(f"{item.row.where()}: {item.video!r} is not in {_places(item)}; fetch it, or exclude {item.id}")
    silent = sum(
        clip.audio_path is None and clip.video_path is not None and bool(item.audio)
        for item, clip in zip(release.clips, clips, strict=True)
    )
    if silent:
        warnings.append(f"{silent} of {len(clips)} clips have no wav; their videos' own tracks are used")
    return clips


def _places(item: Annotated) -> str:
    return " or ".join(map(str, item.videos))


def _file(row: Row, name: str, files: MediaFolder, places: Sequence[Path], faults: Faults) -> Path | None:
    """Return the clip's file, or None; several files whose names differ only in capitals are a fault."""
    found = files.find(name, places) if name else []
    if len(found) > 1:
        faults.add(f"{row.where()}: {name!r} may be {' or '.join(repr(path.name) for path in found)} in {found[0].parent}; keep one")
    return found[0] if found else None


def _warn_of_capitals(annotated: Sequence[Annotated], clips: Sequence[Clip], warnings: list[str]) -> None:
    found = [
        (path.name, name)
        for item, clip in zip(annotated, clips, strict=True)
        for path, name in ((clip.video_path, item.video), (clip.audio_path, item.audio))
        if path is not None and path.name != name
    ]
    if found:
        warnings.append(f"media files found under other capitals than annotated: {len(found)}, as {found[0][0]!r} for {found[0][1]!r}")


def _strays(release: Release, clips: Sequence[Clip], excluded: Sequence[str]) -> list[str]:
    """Return a line that counts the media files that belong to no clip."""
    used = {path for clip in clips for path in (clip.video_path, clip.audio_path) if path}
    suffixes = {Path(name).suffix.lower() for item in release.clips for name in (item.video, item.audio)}
    strays = release.files.strays(used, suffixes - {""}, excluded)
    names = listed([repr(path.name) for path in strays])
    return [f"media files that belong to no clip and are not read: {names}"] if strays else []


def _clip(item: Annotated, video: Path | None, sound: Path | None) -> Clip:
    labels: dict[str, Any] = {name: item.labels.get(name) for name in LABELLED}
    return Clip(item.id, item.source_video, item.topic, item.split, item.text, **labels, video_path=video, audio_path=sound)


def _fingerprint(name: str, clips: Sequence[Clip], excluded: Sequence[str], stand_in: str | None) -> str:
    """Hash of annotations, media contents, exclusions and stand-ins; paths do not enter."""
    rows = [[getattr(clip, field) for field in FINGERPRINTED] for clip in clips]
    return content_hash({"corpus": name, "clips": rows, "excluded": list(excluded), "stand_in": stand_in})
