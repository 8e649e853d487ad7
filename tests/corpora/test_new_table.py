"""From a folder of media to a table to fill in; and the file that names a corpus's clips."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from omnimer_ray.corpora.__main__ import app
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.corpora.export import COLUMNS, clips_csv
from omnimer_ray.corpora.new_table import make
from omnimer_ray.errors import ConfigError


@pytest.fixture
def folder(small_mini: Corpus, tmp_path: Path) -> Path:
    """14 videos in two sub-folders, the first with its sound and its transcript."""
    folder = tmp_path / "own"
    for index, clip in enumerate(small_mini.clips[:14]):
        place = folder / "ab"[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip.video_path or "", place / f"{index}.mp4")
    shutil.copy(small_mini.clips[0].audio_path or "", folder / "a" / "0.wav")
    (folder / "a" / "0.txt").write_text("saya \n senang\n")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def fill(path: Path) -> None:
    found = rows(path)
    for index, row in enumerate(found):
        row |= {"text": row["text"] or "kata", "sentiment": ("negative", "neutral", "positive")[index % 3]}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)


def test_a_folder_becomes_a_table_to_fill_in(folder: Path) -> None:
    ended = CliRunner().invoke(app, ["new", str(folder)])
    assert ended.exit_code == 0
    assert ended.output.splitlines()[0] == f"{folder / 'clips.csv'}: 14 clips, 1 with a transcript from a .txt file"
    assert f"then:  python -m omnimer_ray.corpora check table:{folder / 'clips.csv'}" in ended.output
    first = rows(folder / "clips.csv")[0]
    assert {name: value for name, value in first.items() if value} == {
        "clip": "a_0",
        "video": "a/0.mp4",
        "audio": "a/0.wav",
        "text": "saya senang",
    }
    fill(folder / "clips.csv")
    checked = CliRunner().invoke(app, ["check", f"table:{folder / 'clips.csv'}", "--cache", str(folder / "cache")])
    assert checked.exit_code == 0, checked.output
    assert "source videos are not known: every clip counts as its own" in checked.output
    assert "Conflicts between modalities" not in checked.output, "there are no labels of modalities"


def test_nothing_is_overwritten_and_a_folder_of_videos_is_needed(folder: Path, tmp_path: Path) -> None:
    make(folder)
    with pytest.raises(
        ConfigError, match=r"clips\.csv exists, and is not overwritten; remove it, or use it:  python -m omnimer_ray.corpora check"
    ):
        make(folder)
    with pytest.raises(ConfigError, match=r"nowhere is no folder; give the folder of your media files"):
        make(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty has no video; known endings: \.mp4, "):
        make(tmp_path / "empty")


def test_the_clips_of_a_corpus_are_named_by_contents(small_mini: Corpus) -> None:
    corpus = replace(small_mini, excluded=("clip_x", "clip_y"), reasons={"clip_y": "it is damaged"})
    found = list(csv.DictReader(io.StringIO(clips_csv(corpus))))
    first, one = found[0], small_mini.clips[0]
    assert tuple(first) == COLUMNS
    assert (first["clip"], first["emotion"], first["video_sha256"], first["excluded"]) == (one.id, one.emotion, one.video_hash, "")
    assert [(row["clip"], row["excluded"]) for row in found[-2:]] == [("clip_x", "by --exclude"), ("clip_y", "it is damaged")]


def test_the_command_writes_the_file(tmp_path: Path, real_release: Path) -> None:
    out = tmp_path / "clips.csv"
    ended = CliRunner().invoke(app, ["export", f"indomer:{real_release}", "--out", str(out), "--cache", str(tmp_path / "cache")])
    assert ended.exit_code == 0, ended.output
    assert ended.output.startswith(f"24 clips and 0 excluded ones in {out}; fingerprint ")
    assert len(rows(out)) == 24
