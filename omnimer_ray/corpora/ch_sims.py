"""CH-SIMS v1 and v2 as they are handed around (PAPER.md, section 4): sentiment of the clip and of each modality, three classes by sign.

Layout:  FOLDER/label.csv (v1) or FOLDER/meta.csv (v2), FOLDER/Raw/<video_id>/<clip_id>.mp4; FOLDER may be the folder above.
Copies of v1 lack the header line, or their clip ids have lost the zeros before the number; v2's clip names have five digits.
The test part is reported, the valid part is the corpus's own development part.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from omnimer_ray.corpora.assembly import Annotated, Reading, Release, assemble, check_excluded, check_parts
from omnimer_ray.corpora.clips import Corpus, Split
from omnimer_ray.corpora.files import MediaFolder, unsafe_name
from omnimer_ray.corpora.strict import Faults, Row, check_id, csv_lines, mapped, rows_of, tell_new, unique
from omnimer_ray.errors import CorpusError

COLUMNS = ("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode")
SCORES = {"label": "sentiment", "label_T": "text_sentiment", "label_A": "audio_sentiment", "label_V": "video_sentiment"}
MODES: dict[str, Split] = {"train": "train", "valid": "validation", "test": "test"}
FILES = {"label.csv": 4, "meta.csv": 5}  # digits of a clip's name
FOLDERS = ("chsims", "chsimsv2", "chsimsv2s", "simsv2", "simsv2s")  # names of copies, without what is no letter or digit


def read(path: Path, how: Reading) -> Corpus:
    """The corpus, its clips in the order of the file. Raises CorpusError with all faults at once."""
    folder = _folder(path) if path.is_dir() else path
    return assemble("ch_sims", folder, _read, how, missing="give the folder that holds label.csv or meta.csv", way_out="")


def _folder(path: Path) -> Path:
    """The folder itself, or the one copy of CH-SIMS in it."""
    if any((path / name).exists() for name in FILES):
        return path
    inside = [place for place in sorted(path.iterdir()) if re.sub(r"[\W_]", "", place.name.casefold()) in FOLDERS]
    found = [place for place in inside if any((place / name).exists() for name in FILES)]
    if len(found) > 1:
        raise CorpusError(f"{path} holds {' and '.join(place.name for place in found)}; name one of them")
    return found[0] if found else path


def _read(folder: Path, media: Path, exclude: frozenset[str], faults: Faults, warnings: list[str]) -> Release:
    name = next((name for name in FILES if (folder / name).exists()), "label.csv")
    rows = _rows(folder / name, faults, warnings)
    for row in rows:
        if not check_id(row, "clip_id", faults) and _number(row) is None:
            faults.add(f"{row.where()}: clip_id {row.values['clip_id']!r} is no number; correct it, or exclude the clip")
        if fault := unsafe_name(row.values["video_id"]):
            faults.add(f"{row.where()}: video_id {row.values['video_id']!r} {fault}")
    rows = [row for row in rows if _number(row) is not None and not unsafe_name(row.values["video_id"])]
    raw = media / "Raw" if (media / "Raw").is_dir() or not (media / "raw").is_dir() else media / "raw"
    numbered = {video: _numbered(raw / video, faults) for video in {row.values["video_id"] for row in rows}}
    named = unique(rows, lambda row: _id(row, FILES[name]), faults)
    check_excluded(exclude, set(named), folder, faults)
    clips = [
        _annotated(clip, row, raw, numbered[row.values["video_id"]], FILES[name], faults)
        for clip, row in named.items()
        if clip not in exclude
    ]
    if clips:
        check_parts(clips, MODES.values(), faults)
    return Release(
        clips, MediaFolder(sorted(place for place in raw.iterdir() if place.is_dir()) if raw.is_dir() else []), "test", "validation"
    )


def _rows(path: Path, faults: Faults, warnings: list[str]) -> list[Row]:
    lines = csv_lines(path, faults)
    if lines is None:
        return []
    if "video_id" in lines[0]:
        rows, new = rows_of(path.name, lines[0], enumerate(lines[1:], 2), COLUMNS, faults)
        tell_new(path.name, "columns", new, warnings)
    else:
        rows, _ = rows_of(path.name, list(COLUMNS), enumerate(lines, 1), COLUMNS, faults)
        warnings.append(f"{path.name} has no header line; its columns are taken as {', '.join(COLUMNS)}")
    _check_order(path.name, rows, faults)
    return rows


def _check_order(file: str, rows: Sequence[Row], faults: Faults) -> None:
    """Compare `annotation` with the sign of `label`; if another column fits better, the columns are in another order."""
    agree = Counter({column: sum(_sign(row.values[column]) == row.values["annotation"].casefold() for row in rows) for column in SCORES})
    best, count = agree.most_common(1)[0]
    if rows and count > agree["label"]:
        faults.add(
            f"{file}: 'annotation' agrees with {best!r} in {count} of {len(rows)} rows, and with 'label' in {agree['label']}; "
            f"the columns are in another order: write the header line {','.join(COLUMNS)} in the order of the file"
        )
        return
    for row in rows:
        if (word := row.values["annotation"].casefold()) != (sign := _sign(row.values["label"])) and sign is not None:
            faults.add(
                f"{row.where()}: annotation {word!r} does not go with label {row.values['label']!r}; correct one, or exclude the clip"
            )


def _annotated(clip: str, row: Row, raw: Path, numbered: dict[int, str], digits: int, faults: Faults) -> Annotated:
    video, number = row.values["video_id"], _number(row)
    assert number is not None
    labels = {name: sign for column, name in SCORES.items() if (sign := _label(row, column, faults))}
    split = MODES.get(mapped(row, "mode", {mode: mode for mode in MODES}, faults) or "", "train")
    if not row.values["text"].strip():
        faults.add(f"{row.where()}: text is empty; give the transcript, or exclude {clip}")
    file = numbered.get(number, f"{number:0{digits}d}.mp4")
    return Annotated(clip, video, "", split, row.values["text"], labels, row, file, "", (raw / video,))


def _id(row: Row, digits: int) -> str:
    return f"{row.values['video_id']}_{_number(row):0{digits}d}"


def _number(row: Row) -> int | None:
    """A clip's number: ids may have lost their zeros."""
    word = row.values["clip_id"].strip()
    return int(word) if word.isascii() and word.isdigit() else None


def _numbered(folder: Path, faults: Faults) -> dict[int, str]:
    """Names of a source video's clips by their number; two files of one number are a fault."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    found: dict[int, str] = {}
    for name in names:
        number = name[:-4]
        if (
            name.casefold().endswith(".mp4")
            and number.isascii()
            and number.isdigit()
            and (first := found.setdefault(int(number), name)) != name
        ):
            faults.add(f"{folder}: {first!r} and {name!r} have one number; keep one")
    return found


def _label(row: Row, column: str, faults: Faults) -> str | None:
    word = row.values[column]
    if (sign := _sign(word)) is None:
        faults.add(f"{row.where()}: {column} {word!r} is no number from -1 to 1; correct it, or exclude the clip")
    return sign


def _sign(word: str) -> str | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return None if not -1 <= value <= 1 else "negative" if value < 0 else "positive" if value > 0 else "neutral"
