"""What all corpora share; and that a plain corpus is a short reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnimer_ray.corpora.assembly import Annotated, Reading, Release, assemble, check_parts
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.corpora.files import MediaFolder
from omnimer_ray.corpora.strict import Faults, csv_rows, mapped, unique
from omnimer_ray.errors import CorpusError

WORDS = {"pos": "positive", "neg": "negative"}


def read(folder: Path, how: Reading) -> Corpus:
    """The whole reader of a corpus with one table: name, words and label, and the videos beside it."""
    return assemble("plain", folder, _read, how, missing="give the folder of labels.csv", way_out="")


def _read(folder: Path, media: Path, exclude: frozenset[str], faults: Faults, warnings: list[str]) -> Release:
    rows, _ = csv_rows(folder / "labels.csv", ("name", "part", "words", "label"), faults)
    clips = [
        Annotated(
            name,
            name.split("-")[0],
            "",
            "train" if row.values["part"] == "train" else "validation",
            row.values["words"],
            {"sentiment": mapped(row, "label", WORDS, faults) or "neutral"},
            row,
            f"{name}.mp4",
            "",
            (media,),
        )
        for name, row in unique(rows, lambda row: row.values["name"], faults).items()
        if name not in exclude
    ]
    check_parts(clips, ("train", "validation"), faults)
    return Release(clips, MediaFolder([media], beside=media))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "labels.csv").write_text("name,part,words,label\na-1,train,one,pos\na-2,dev,two,neg\nb-1,train,three,pos\n")
    for name in ("a-1", "a-2", "b-1"):
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    return tmp_path


def test_a_plain_corpus_is_a_short_reader(folder: Path) -> None:
    corpus = read(folder, Reading(folder / "cache"))
    assert [(clip.id, clip.sentiment, clip.split) for clip in corpus.clips] == [
        ("a-1", "positive", "train"),
        ("a-2", "negative", "validation"),
        ("b-1", "positive", "train"),
    ]
    assert corpus.clips[0].video_hash
    assert corpus.shared_videos[0].startswith("1 of 1 validation clips share their source video with train")


def test_the_fingerprint_depends_on_labels_contents_and_exclusions_and_not_on_the_place(folder: Path, tmp_path: Path) -> None:
    def fingerprint(**how: object) -> str:
        return read(folder, Reading(tmp_path / "cache", **how)).fingerprint  # type: ignore[arg-type]

    before = fingerprint()
    assert fingerprint(exclude=("b-1",)) not in (before, fingerprint())
    (folder / "b-1.mp4").write_bytes(b"another content")
    contents = fingerprint()
    (folder / "labels.csv").write_text((folder / "labels.csv").read_text().replace("three,pos", "three,neg"))
    assert len({before, contents, fingerprint()}) == 3
    moved = folder.rename(folder.with_name("moved"))
    assert read(moved, Reading(moved / "cache")).fingerprint == read(moved, Reading(moved / "other")).fingerprint


def test_without_media_nothing_is_missing(folder: Path) -> None:
    for path in folder.glob("*.mp4"):
        path.unlink()
    assert len(read(folder, Reading(folder / "cache", need_media=False)).clips) == 3
    with pytest.raises(CorpusError, match=r"no media: none of 3 videos is in .*; name the folder that holds them"):
        read(folder, Reading(folder / "cache"))
