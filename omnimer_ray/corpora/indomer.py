"""The IndoMER release as it is: Annotations.csv and the JSON splits of both tasks, joined on the clip's name (PAPER.md, section 3).

Layout:  FOLDER/Annotations.csv, FOLDER/{3_Class,7_Class}/{3,7}_class_{train,val[,test]}.json
Media:   FOLDER/videos/NAME.mp4 and FOLDER/audio/NAME.wav, else both beside Annotations.csv; or the same two ways under another folder.
The release's README describes more than its files hold; the files decide. Anything new in a later release is a warning, anything wrong a fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from omnimer_ray.config import content_hash
from omnimer_ray.corpora.clips import LONGEST_LIST, Clip, Corpus
from omnimer_ray.corpora.files import MediaFolder, content_hashes, same_content
from omnimer_ray.corpora.indomer_join import Annotated, join
from omnimer_ray.corpora.strict import Faults
from omnimer_ray.errors import CorpusError

STAND_IN_FILE = "STAND_IN.json"
LABELS = ("sentiment", "emotion", "text_sentiment", "video_sentiment", "audio_sentiment")
FINGERPRINTED = ("id", "source_video", "topic", "split", "text", *LABELS, "video_hash", "audio_hash")  # of a clip


def read(
    folder: Path,
    *,
    cache: Path,
    media: Path | None = None,
    exclude: Sequence[str] = (),
    need_media: bool = True,
    fingerprint: str | None = None,
) -> Corpus:
    """The corpus in `folder`, its clips in the order of Annotations.csv.

    `media` is the folder of the videos and wavs (default: `folder`); `exclude` names clips to leave out.
    Without `need_media`, absent videos are no fault. `fingerprint` is given if a recipe determines the corpus.
    Raises CorpusError with all faults at once.
    """
    if not folder.is_dir():
        raise CorpusError(f"{folder} is no folder; give the folder that holds Annotations.csv")
    folder, faults, warnings = folder.absolute(), Faults(), list[str]()
    try:
        stand_in = _stand_in(folder, faults) or (_stand_in(media.absolute(), faults) if media else None)
        annotated = join(folder, frozenset(exclude), faults, warnings)
        files = MediaFolder((media or folder).absolute())
        clips = _with_media(annotated, files, faults, warnings, need_media)
        warnings += _strays(annotated, clips, files, exclude)
        faults.raise_any(str(folder))
        hashes = content_hashes(sorted({path for clip in clips for path in (clip.video_path, clip.audio_path) if path}), cache)
        clips = _with_hashes(clips, hashes)
        excluded = tuple(sorted(set(exclude)))
        if fingerprint is None:
            warnings += same_content(clips)
            fingerprint = _fingerprint(clips, excluded, stand_in)
    except OSError as error:
        raise CorpusError(f"{error.filename}: cannot be read ({error.strerror}); look at its permissions") from None
    return Corpus("indomer", clips, fingerprint, stand_in, excluded, tuple(warnings))


def _stand_in(folder: Path, faults: Faults) -> str | None:
    """Read the marker file that `python -m omnimer_ray.corpora stand-ins` writes."""
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


def _with_media(
    annotated: Sequence[Annotated], files: MediaFolder, faults: Faults, warnings: list[str], need_media: bool
) -> tuple[Clip, ...]:
    """Return the clips with the files found; absent videos are faults, one for all of them if there is none at all."""
    ambiguous = faults if need_media else Faults()
    videos = [_file(item, "video_name", files, files.videos, ambiguous) for item in annotated]
    sounds = [_file(item, "audio_name", files, files.audio, ambiguous) for item in annotated]
    clips = tuple(map(_clip, annotated, videos, sounds))
    _warn_of_capitals(annotated, clips, warnings)
    where = f"{files.videos[0]} or {files.videos[1]}"
    absent = [item for item, clip in zip(annotated, clips, strict=True) if clip.video_path is None]
    if need_media and absent and len(absent) == len(clips):
        faults.add(
            f"no media: none of {len(clips)} videos is in {where}; name the folder that holds them, "
            "or make stand-ins: python -m omnimer_ray.corpora stand-ins indomer:FOLDER --out FOLDER"
        )
    elif need_media:
        for item in absent:
            faults.add(f"{item.row.where()}: {item.row.values['video_name']!r} is not in {where}; fetch it, or exclude {item.id}")
    silent = sum(clip.audio_path is None and clip.video_path is not None for clip in clips)
    if silent:
        warnings.append(f"{silent} of {len(clips)} clips have no wav; their videos' own tracks are used")
    return clips


def _file(item: Annotated, column: str, files: MediaFolder, places: Sequence[Path], faults: Faults) -> Path | None:
    """Return the clip's file, or None; several files whose names differ only in capitals are a fault."""
    name = item.row.values[column]
    found = files.find(name, places)
    if len(found) > 1:
        faults.add(f"{item.row.where()}: {name!r} may be {' or '.join(repr(path.name) for path in found)} in {found[0].parent}; keep one")
    return found[0] if found else None


def _warn_of_capitals(annotated: Sequence[Annotated], clips: Sequence[Clip], warnings: list[str]) -> None:
    found = [
        (path.name, item.row.values[column])
        for item, clip in zip(annotated, clips, strict=True)
        for path, column in ((clip.video_path, "video_name"), (clip.audio_path, "audio_name"))
        if path is not None and path.name != item.row.values[column]
    ]
    if found:
        warnings.append(f"media files found under other capitals than annotated: {len(found)}, as {found[0][0]!r} for {found[0][1]!r}")


def _strays(annotated: Sequence[Annotated], clips: Sequence[Clip], files: MediaFolder, excluded: Sequence[str]) -> list[str]:
    """Return a line that counts the media files that belong to no clip."""
    used = {path for clip in clips for path in (clip.video_path, clip.audio_path) if path}
    suffixes = {Path(item.row.values[column]).suffix.lower() for item in annotated for column in ("video_name", "audio_name")}
    strays = files.strays(used, suffixes - {""}, excluded)
    names = ", ".join(repr(path.name) for path in strays[:LONGEST_LIST])
    more = f" and {len(strays) - LONGEST_LIST} more" if len(strays) > LONGEST_LIST else ""
    return [f"media files that belong to no clip and are not read: {len(strays)}, {names}{more}"] if strays else []


def _clip(item: Annotated, video: Path | None, sound: Path | None) -> Clip:
    return Clip(
        id=item.id,
        source_video=item.source_video,
        topic=item.topic,
        split=item.split,
        text=item.text,
        sentiment=item.labels.get("sentiment"),
        emotion=item.labels.get("emotion"),
        text_sentiment=item.labels.get("text_sentiment"),
        video_sentiment=item.labels.get("video_sentiment"),
        audio_sentiment=item.labels.get("audio_sentiment"),
        video_path=video,
        audio_path=sound,
    )


def _with_hashes(clips: Sequence[Clip], hashes: Mapping[Path, str]) -> tuple[Clip, ...]:
    """Clips with the hashes of their media, for the fingerprint and for workers, whose files must be the same."""
    return tuple(
        replace(
            clip,
            video_hash=hashes[clip.video_path] if clip.video_path else None,
            audio_hash=hashes[clip.audio_path] if clip.audio_path else None,
        )
        for clip in clips
    )


def _fingerprint(clips: Sequence[Clip], excluded: Sequence[str], stand_in: str | None) -> str:
    """Hash of annotations, media contents, exclusions and stand-ins; paths do not enter."""
    rows = [[getattr(clip, name) for name in FINGERPRINTED] for clip in clips]
    return content_hash({"corpus": "indomer", "clips": rows, "excluded": list(excluded), "stand_in": stand_in})
