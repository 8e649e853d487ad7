"""The five annotation files of an IndoMER release, joined on the clip's name and checked against each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from omnimer_ray.corpora.assembly import Annotated, check_excluded, check_parts, sides_of
from omnimer_ray.corpora.clips import SENTIMENT_OF, Split
from omnimer_ray.corpora.files import unsafe_name
from omnimer_ray.corpora.strict import Faults, Row, csv_rows, json_rows, mapped, tell_new, unique

COLUMNS = ("video_name", "audio_name", "emotion", "sentiment", "text_sentiment", "audio_sentiment", "video_sentiment", "text")
SENTIMENT_KEYS = ("sample_id", "text", "audio_label", "text_label", "video_label", "label", "video", "audio")
EMOTION_KEYS = ("sample_id", "text", "sentiment_label", "label", "video", "audio")
SAME = {  # a JSON key and the CSV column that must hold the same word
    "3": {"audio_label": "audio_sentiment", "text_label": "text_sentiment", "video_label": "video_sentiment", "label": "sentiment"},
    "7": {"sentiment_label": "sentiment", "label": "emotion"},
}
SENTIMENT_WORDS = {"negatif": "negative", "netral": "neutral", "positif": "positive"}
EMOTION_WORDS = {
    "netral": "neutral",
    "kebahagiaan": "happiness",
    "surprise": "surprise",
    "kesedihan": "sadness",
    "kemarahan": "anger",
    "jijik": "disgust",
    "ketakutan": "fear",
}
TOPICS = frozenset(
    [
        "Blogger",
        "Book",
        "Celebrity",
        "Cooking",
        "Family",
        "Health",
        "Makeup",
        "Opinion",
        "Politics",
        "Product",
        "Sharing",
        "Society",
        "Tutorials",
    ]
)
SAME_TOPIC = {"Opinions": "Opinion"}
SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}

_NAME = re.compile(r"clip_([0-9]+)_([A-Za-z]+)_([0-9]+)")


class Entry(NamedTuple):
    """One clip's entry in one task's files."""

    split: Split
    row: Row


def join(folder: Path, exclude: frozenset[str], faults: Faults, warnings: list[str]) -> list[Annotated]:
    """The clips of a release in the order of Annotations.csv; adds to `faults` and `warnings`."""
    all_rows, new = csv_rows(folder / "Annotations.csv", COLUMNS, faults)
    tell_new("Annotations.csv", "columns", new, warnings)
    check_excluded(exclude, {_id(row) for row in all_rows}, folder, faults)
    rows = unique([row for row in all_rows if _id(row) not in exclude], _id, faults)
    sentiment = _entries(folder, "3", SENTIMENT_KEYS, exclude, faults, warnings)
    emotion = _entries(folder, "7", EMOTION_KEYS, exclude, faults, warnings)
    labels = {name: _labels(row, faults) for name, row in rows.items()}
    _check_names(rows.values(), faults)
    if not all_rows or sentiment is None or emotion is None:
        return []
    _check_members(rows, sentiment, emotion, faults)
    whole = [name for name in rows if name in sentiment and name in emotion]
    clips = [_annotated(name, rows[name], labels[name], sentiment[name], emotion[name], faults, warnings) for name in whole]
    check_parts(clips, ("train", "validation"), faults)
    _check_groups(clips, faults)
    _tell_mended(clips, warnings)
    tell_new("Annotations.csv", "topics", sorted({clip.topic for clip in clips if clip.topic} - TOPICS), warnings)
    return clips


def _id(row: Row) -> str:
    return row.values["video_name"].rpartition(".")[0] or row.values["video_name"]


def _check_names(rows: Iterable[Row], faults: Faults) -> None:
    for row in rows:
        for column in ("video_name", "audio_name"):
            if fault := unsafe_name(row.values[column]):
                faults.add(f"{row.where()}: {column} {row.values[column]!r} {fault}")


def _entries(
    folder: Path, kind: str, keys: Iterable[str], exclude: frozenset[str], faults: Faults, warnings: list[str]
) -> dict[str, Entry] | None:
    """One task's clips by name; None if a file could not be read: then missing clips cannot be found."""
    place = _folder(folder, f"{kind}_Class")
    found: dict[str, Entry] = {}
    whole = True
    for short, split in SPLITS.items():
        path = place / f"{kind}_class_{short}.json"
        if short == "test" and not path.exists():
            continue
        rows, new = json_rows(path, keys, faults)
        whole = whole and bool(rows)
        tell_new(f"{place.name}/{path.name}", "keys", new, warnings)
        rows = [row for row in rows if row.values["sample_id"] not in exclude]
        for name, row in unique(rows, lambda row: row.values["sample_id"], faults).items():
            if (first := found.setdefault(name, Entry(split, row))).row is not row:
                faults.add(f"{row.where()}: is in {first.row.file} too, so {split} and {first.split} overlap; keep one")
    if place.is_dir():
        known = {f"{kind}_class_{short}.json" for short in SPLITS}
        others = sorted(path.name for path in place.iterdir() if path.name not in known and not path.name.startswith("."))
        tell_new(place.name, "files, which are not read", others, warnings)
    return found if whole else None


def _folder(folder: Path, name: str) -> Path:
    """The sub-folder under any capitals: the README writes 3_class, the release 3_Class."""
    return next((path for path in sorted(folder.iterdir()) if path.name.lower() == name.lower() and path.is_dir()), folder / name)


def _labels(row: Row, faults: Faults) -> dict[str, str]:
    labels = {}
    for column in COLUMNS[2:7]:
        if label := mapped(row, column, EMOTION_WORDS if column == "emotion" else SENTIMENT_WORDS, faults):
            labels[column] = label
    if {"emotion", "sentiment"} <= set(labels) and SENTIMENT_OF[labels["emotion"]] != labels["sentiment"]:
        emotion, sentiment = row.values["emotion"], row.values["sentiment"]
        faults.add(f"{row.where()}: emotion {emotion!r} does not go with sentiment {sentiment!r}; correct one, or exclude {_id(row)}")
    return labels


def _check_members(rows: Mapping[str, Row], sentiment: Mapping[str, Entry], emotion: Mapping[str, Entry], faults: Faults) -> None:
    """Check that every clip is in Annotations.csv and once in each task's files, in the same split."""
    for entries, kind in ((sentiment, "3_Class"), (emotion, "7_Class")):
        for name in (name for name in entries if name not in rows):
            faults.add(f"{entries[name].row.where()}: {name!r} is not in Annotations.csv; add its row, or take the entry out")
        for name in (name for name in rows if name not in entries):
            faults.add(f"{rows[name].where()}: {name!r} is in no file of {kind}; add it to a split, or exclude it")
    for name in (name for name in rows if name in sentiment and name in emotion):
        here, there = emotion[name], sentiment[name]
        if here.split != there.split:
            faults.add(
                f"{here.row.where()}: is in {here.split} here and in {there.split} in {there.row.file}; choose one split for both tasks"
            )


def _annotated(
    name: str, row: Row, labels: dict[str, str], sentiment: Entry, emotion: Entry, faults: Faults, warnings: list[str]
) -> Annotated:
    for entry, kind in ((sentiment.row, "3"), (emotion.row, "7")):
        _check_same(name, entry, {"video": "video_name", "audio": "audio_name", **SAME[kind]}, row, faults)
    parts = _NAME.fullmatch(name)
    if parts is None:
        written = row.values["video_name"]
        faults.add(
            f"{row.where()}: video_name {written!r} is not clip_<video>_<Topic>_<number>, so its source video is unknown; rename or exclude it"
        )
    video, topic = (str(int(parts[1])), SAME_TOPIC.get(parts[2], parts[2])) if parts else (name, "")
    text = _text(row, sentiment.row, emotion.row, faults, warnings)
    return Annotated(name, video, topic, sentiment.split, text, labels, row, row.values["video_name"], row.values["audio_name"], ())


def _check_same(name: str, entry: Row, keys: Mapping[str, str], row: Row, faults: Faults) -> None:
    for key, column in keys.items():
        if entry.values[key] != row.values[column]:
            faults.add(
                f"{entry.where()}: {key} {entry.values[key]!r} is {row.values[column]!r} in {row.where()}; correct one, or exclude {name}"
            )


def _text(row: Row, sentiment: Row, emotion: Row, faults: Faults, warnings: list[str]) -> str:
    """The transcript as in the JSON files: those of Annotations.csv hold mojibake."""
    text, other, written = sentiment.values["text"], emotion.values["text"], row.values["text"]
    if other != text:
        faults.add(f"{emotion.where()}: text {other[:60]!r} is {text[:60]!r} in {sentiment.where()}; correct one")
    if not text.strip():
        faults.add(f"{sentiment.where()}: text is empty; give the transcript, or exclude the clip")
    if text not in (written, mended(written)):
        warnings.append(f"{row.where()}: text {written[:60]!r} is not used; {sentiment.where()} has {text[:60]!r}")
    return text


def mended(text: str) -> str:
    """The text with GBK punctuation that was read as Latin-1 corrected; other text unchanged."""
    try:
        return text.encode("latin-1").decode("gb18030")
    except UnicodeError:
        return text


def _tell_mended(clips: Iterable[Annotated], warnings: list[str]) -> None:
    count = sum(clip.row.values["text"] != clip.text == mended(clip.row.values["text"]) for clip in clips)
    if count:
        warnings.append(
            f"Annotations.csv: {count} texts are mojibake (GBK punctuation read as Latin-1); mended, as the JSON files have them"
        )


def _check_groups(clips: Iterable[Annotated], faults: Faults) -> None:
    """Check that no source video is in two splits."""
    for video, splits in sides_of(clips).items():
        where = ", ".join(f"{count} clips in {split}" for split, count in splits.items())
        faults.add(f"source video {video} is in both splits: {where}; move its clips to one split, or exclude them")
