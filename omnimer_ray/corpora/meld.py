"""MELD as its copies are: three annotation files and `dia<D>_utt<U>.mp4` in a folder for each part; emotion and sentiment, no labels of modalities.

An id names a clip only within its part, so ours begin with the part. The test part is reported, dev is the corpus's own development part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from omnimer_ray.corpora.assembly import Annotated, Reading, Release, assemble, check_excluded, check_parts
from omnimer_ray.corpora.clips import SENTIMENTS, Corpus, Split, listed
from omnimer_ray.corpora.files import MediaFolder
from omnimer_ray.corpora.strict import Dialect, Faults, Row, check_id, csv_lines, mapped, rows_of, tell_new, unique

COLUMNS = ("Utterance", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode", "StartTime", "EndTime")
NOT_READ = ("Sr No.", "Speaker")
EMOTIONS = {name: name for name in ("neutral", "surprise", "sadness", "anger", "disgust", "fear")} | {"joy": "happiness"}
PREFERRED = "final_videos_test"  # where a test clip exists twice, the file of this name fits the annotations
KNOWN = {"train_dia125_utt3": "its video is known to be damaged", "dev_dia110_utt7": "its video is known to be missing from the release"}
LONGEST_SEC = 60.0


class Part(NamedTuple):
    """One part of the corpus, in its usual names."""

    name: str
    split: Split
    videos: str


PARTS = (
    Part("train", "train", "train_splits"),
    Part("dev", "validation", "dev_splits_complete"),
    Part("test", "test", "output_repeated_splits_test"),
)


def read(path: Path, how: Reading) -> Corpus:
    """The corpus, its clips in the order of the files, train first. Raises CorpusError with all faults at once."""
    return assemble("meld", path, _read, how, missing="give the folder of the *_sent_emo.csv files and of the videos", way_out="")


def _read(folder: Path, media: Path, exclude: frozenset[str], faults: Faults, warnings: list[str]) -> Release:
    named: dict[str, tuple[Part, Row]] = {}
    for part in PARTS:
        rows = [row for row in _rows(folder, part, faults, warnings) if _is_numbered(row, faults)]
        named |= {f"{part.name}_{name}": (part, row) for name, row in unique(rows, _file_name, faults).items()}
    check_excluded(exclude, set(named), folder, faults)
    places = {part.name: _places(media, part) for part in PARTS}
    files = MediaFolder(place for found in places.values() for place in found)
    left_out = {
        name: KNOWN[name]
        for name in named
        if name in KNOWN and (name.startswith("train") or not _found(named[name][1], places["dev"], files))
    }
    chosen = [(name, *named[name]) for name in named if name not in exclude and name not in left_out]
    clips = [_annotated(name, part, row, places[part.name], files, faults) for name, part, row in chosen]
    if clips:
        check_parts(clips, (part.split for part in PARTS), faults)
    warnings += [f"{name} is left out: {reason}" for name, reason in left_out.items()]
    _tell(clips, warnings)
    return Release(clips, files, "test", "validation", excluded=left_out)


def _rows(folder: Path, part: Part, faults: Faults, warnings: list[str]) -> list[Row]:
    name = f"{part.name}_sent_emo.csv"
    usual = (folder, folder / "data" / "MELD", folder / "MELD.Raw", folder / part.name)
    path = next((place / name for place in usual if (place / name).is_file()), folder / name)
    dialect = Dialect() if not path.is_file() or _is_utf8(path) else Dialect("cp1252")
    if dialect.encoding == "cp1252":
        warnings.append(f"{name} is no UTF-8; it is read as cp1252")
    if (lines := csv_lines(path, faults, dialect)) is None:
        return []
    rows, new = rows_of(name, lines[0], enumerate(lines[1:], 2), COLUMNS, faults)
    tell_new(name, "columns", [column for column in new if column not in NOT_READ], warnings)
    return rows


def _is_utf8(path: Path) -> bool:
    try:
        path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    return True


def _is_numbered(row: Row, faults: Faults) -> bool:
    """Whether both ids are numbers; a fault for each that is not."""
    wrong = False
    for column in ("Dialogue_ID", "Utterance_ID"):
        if check_id(row, column, faults):
            wrong = True
        elif not re.fullmatch(r"[0-9]+", row.values[column].strip()):
            faults.add(f"{row.where()}: {column} {row.values[column]!r} is no number; correct it")
            wrong = True
    return not wrong


def _file_name(row: Row) -> str:
    return f"dia{int(row.values['Dialogue_ID'])}_utt{int(row.values['Utterance_ID'])}"


def _places(media: Path, part: Part) -> tuple[Path, ...]:
    usual = tuple(base / part.videos for base in (media, media / "MELD.Raw", media / part.name, media / "MELD.Raw" / part.name))
    return tuple(place for place in usual if place.is_dir()) or usual[:1]


def _found(row: Row, places: Sequence[Path], files: MediaFolder) -> list[Path]:
    return files.find(f"{_file_name(row)}.mp4", places)


def _annotated(clip: str, part: Part, row: Row, places: Sequence[Path], files: MediaFolder, faults: Faults) -> Annotated:
    values, file = row.values, f"{_file_name(row)}.mp4"
    labels = {
        "emotion": mapped(row, "Emotion", EMOTIONS, faults),
        "sentiment": mapped(row, "Sentiment", {name: name for name in SENTIMENTS}, faults),
    }
    season, episode = values["Season"].strip(), values["Episode"].strip()
    group = f"s{season}e{episode}" if season and episode else f"{part.name}_dia{int(values['Dialogue_ID'])}"
    text = mended(values["Utterance"]).strip()
    if not text:
        faults.add(f"{row.where()}: Utterance is empty; give the transcript, or exclude {clip}")
    preferred = PREFERRED + file
    return Annotated(
        clip,
        group,
        "",
        part.split,
        text,
        {name: label for name, label in labels.items() if label},
        row,
        preferred if files.find(preferred, places) else file,
        "",
        places,
    )


def mended(text: str) -> str:
    """The text with control characters of older copies as the signs that cp1252 has for their bytes: U+0092 is an apostrophe."""
    return re.sub(r"[\x80-\x9f]", lambda found: found[0].encode("latin-1").decode("cp1252", errors="ignore"), text)


def _tell(clips: Sequence[Annotated], warnings: list[str]) -> None:
    """Add lines that count mended texts, preferred files and odd stamps."""
    changed = [clip.id for clip in clips if clip.text != clip.row.values["Utterance"].strip()]
    if changed:
        warnings.append(f"texts with control characters of cp1252, which are mended: {listed(changed)}")
    if preferred := [clip.id for clip in clips if clip.video.startswith(PREFERRED)]:
        warnings.append(f"test clips that exist twice, of which {PREFERRED}… is read: {listed(preferred)}")
    lengths = {clip.id: _sec(clip.row) for clip in clips}
    if unknown := [clip for clip, sec in lengths.items() if sec is None]:
        warnings.append(f"clips whose stamps are no times (not used for cutting): {listed(unknown)}")
    if odd := [f"{clip} {sec:.1f} s" for clip, sec in lengths.items() if sec is not None and not 0 < sec <= LONGEST_SEC]:
        warnings.append(f"clips whose stamps give no time or over {LONGEST_SEC:.0f} s (not used for cutting): {listed(odd)}")


def _sec(row: Row) -> float | None:
    """Seconds between the stamps 00:16:16,059 of a clip."""
    times = [re.fullmatch(r"([0-9]+):([0-9]+):([0-9]+)[,.]([0-9]+)", row.values[column].strip()) for column in ("StartTime", "EndTime")]
    start, end = (None if time is None else int(time[1]) * 3600 + int(time[2]) * 60 + float(f"{time[3]}.{time[4]}") for time in times)
    return None if start is None or end is None else end - start
