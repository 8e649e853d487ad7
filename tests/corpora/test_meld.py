"""MELD with the quirks of its copies: each is handled and told, or a fault that names file, row and way out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import meld_release
import numpy as np
import pytest
from typer.testing import CliRunner

from omnimer_ray.corpora import load, meld
from omnimer_ray.corpora.__main__ import app
from omnimer_ray.corpora.assembly import Reading
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import CorpusError
from omnimer_ray.media.lengths import probe_clips


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return meld_release.make(tmp_path / "MELD")


def read(folder: Path, **how: object) -> Corpus:
    return meld.read(folder, Reading(folder.parent / "cache", **how))  # type: ignore[arg-type]


def test_ids_begin_with_their_part_and_labels_are_ours(folder: Path) -> None:
    corpus = read(folder)
    clips = {clip.id: clip for clip in corpus.clips}
    first = clips["train_dia0_utt0"]
    assert (first.emotion, first.sentiment, first.source_video, first.split) == ("happiness", "positive", "s1e1", "train")
    assert (clips["test_dia0_utt0"].split, clips["dev_dia0_utt0"].split) == ("test", "validation")
    assert (first.text_sentiment, first.audio_sentiment, first.video_sentiment) == (None, None, None)
    assert [len(corpus.split(name)) for name in ("train", "validation", "test")] == [32, 8, 12]
    assert (corpus.name, corpus.reported, corpus.development) == ("meld", "test", "validation")
    assert load(f"meld:{folder}", cache=folder.parent / "cache").fingerprint == corpus.fingerprint


def test_surprise_is_of_either_sentiment(folder: Path) -> None:
    corpus = read(folder)
    assert {clip.sentiment for clip in corpus.clips if clip.emotion == "surprise"} == {"positive", "negative"}
    assert corpus.unfixed == ("surprise",)


def test_everything_odd_is_told_line_by_line(folder: Path) -> None:
    corpus = read(folder)
    assert corpus.warnings == (
        "train_dia125_utt3 is left out: its video is known to be damaged",
        "dev_dia110_utt7 is left out: its video is known to be missing from the release",
        "texts with control characters of cp1252, which are mended: 1, train_dia0_utt2",
        "test clips that exist twice, of which final_videos_test… is read: 1, test_dia0_utt1",
        "clips whose stamps give no time or over 60 s (not used for cutting): 2, train_dia0_utt3 0.0 s, test_dia0_utt0 305.0 s",
        "media files that belong to no clip and are not read: 4, '._dia0_utt0.mp4', 'dia0_utt1.mp4', 'dia77_utt0.mp4', 'dia125_utt3.mp4'",
    )
    assert corpus.shared_videos == (
        "12 of 12 test clips share their source video with train, so the same people and scenes are in both; --folds 5 splits by source video",
    )
    assert corpus.excluded == ("dev_dia110_utt7", "train_dia125_utt3")
    assert dict(corpus.reasons)["train_dia125_utt3"] == "its video is known to be damaged"
    clips = {clip.id: clip for clip in corpus.clips}
    assert clips["train_dia0_utt2"].text == "It’s “fine”"
    assert str(clips["test_dia0_utt1"].video_path).endswith("final_videos_testdia0_utt1.mp4")


def test_a_file_in_cp1252_is_read_as_such(folder: Path) -> None:
    before = [clip.text for clip in read(folder).clips]
    made = meld_release.rows()
    made["train"][2][1] = "It’s “fine”"
    meld_release.write(folder, made, encoding="cp1252")
    corpus = read(folder)
    assert [clip.text for clip in corpus.clips] == before
    assert corpus.warnings[0] == "train_sent_emo.csv is no UTF-8; it is read as cp1252"


@pytest.mark.parametrize("place", ["data/MELD", "MELD.Raw"])
def test_the_usual_places_are_found(folder: Path, place: str) -> None:
    before = read(folder)
    (folder / place).mkdir(parents=True)
    for part, videos in meld_release.VIDEOS.items():
        (folder / f"{part}_sent_emo.csv").rename(folder / place / f"{part}_sent_emo.csv")
        (folder / part).mkdir()
        (folder / videos).rename(folder / part / videos)
    assert read(folder).fingerprint == before.fingerprint


def test_without_season_or_episode_a_dialogue_is_the_source(folder: Path) -> None:
    made = meld_release.rows()
    made["train"][0][7] = ""
    meld_release.write(folder, made)
    assert read(folder).clips[0].source_video == "train_dia0"


def cell(part: str, row: int, column: str, value: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        made = meld_release.rows()
        made[part][row - 2][meld_release.HEADER.index(column)] = value
        meld_release.write(folder, made)

    return change


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (lambda f: (f / "dev_sent_emo.csv").unlink(), r"dev_sent_emo\.csv: missing in .*MELD; "),
    "an unknown emotion": (
        cell("train", 3, "Emotion", "happy"),
        r"train_sent_emo\.csv, row 3: unknown label 'happy' in 'Emotion'; known: ",
    ),
    "an unknown sentiment": (cell("test", 3, "Sentiment", "Neutral"), r"test_sent_emo\.csv, row 3: unknown label 'Neutral' in 'Sentiment'"),
    "no number": (cell("dev", 3, "Utterance_ID", "x"), r"dev_sent_emo\.csv, row 3: Utterance_ID 'x' is no number; correct it"),
    "a rewritten number": (cell("dev", 3, "Dialogue_ID", "1E+05"), r"row 3: Dialogue_ID '1E\+05' is a number that a spreadsheet program"),
    "an id twice": (cell("train", 3, "Utterance_ID", "0"), r"train_sent_emo\.csv, row 3: 'dia0_utt0' is in row 2 already; keep one"),
    "no transcript": (cell("train", 3, "Utterance", " "), r"row 3: Utterance is empty; give the transcript, or exclude train_dia0_utt1"),
    "an absent video": (
        lambda f: (f / "train_splits" / "dia0_utt1.mp4").unlink(),
        r"train_sent_emo\.csv, row 3: 'dia0_utt1\.mp4' is not in .*train_splits; fetch it, or exclude train_dia0_utt1",
    ),
    "no videos": (
        lambda f: [shutil.rmtree(f / name) for name in meld_release.VIDEOS.values()],
        r"no media: none of 52 videos is in .*train_splits; name the folder that holds them",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_fault_is_named(folder: Path, name: str) -> None:
    spoil, message = BAD[name]
    spoil(folder)
    with pytest.raises(CorpusError, match=message):
        read(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"nowhere is no folder; give the folder of the \*_sent_emo\.csv files and of the videos"):
        read(tmp_path / "nowhere")


def test_stamps_that_are_no_times_are_told(folder: Path) -> None:
    cell("train", 3, "StartTime", "soon")(folder)
    assert "clips whose stamps are no times (not used for cutting): 1, train_dia0_utt1" in read(folder).warnings


def film(path: Path, sec: float, layout: str) -> None:
    """A grey video of two seconds with `sec` seconds of sound."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", rate=12), container.add_stream("aac", rate=48_000, layout=layout)
        video.width = video.height = 112
        video.pix_fmt = "yuv420p"
        for index in range(24):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.full((112, 112, 3), 9 * index, np.uint8), format="rgb24")))
        container.mux(video.encode())
        channels = len(audio.layout.channels)
        wave = 0.3 * np.sin(np.arange(int(48_000 * sec)) / 20)
        for start in range(0, len(wave), 1024):
            frame = av.AudioFrame.from_ndarray(
                np.tile(wave[start : start + 1024], (channels, 1)).astype(np.float32), format="fltp", layout=layout
            )
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            container.mux(audio.encode(frame))
        container.mux(audio.encode())


def test_check_names_what_it_finds_in_real_media(folder: Path, small_mini: Corpus) -> None:
    for place in meld_release.VIDEOS.values():
        for index, path in enumerate(sorted((folder / place).iterdir())):
            shutil.copy(small_mini.clips[index % len(small_mini.clips)].video_path or "", path)
    film(folder / "train_splits" / "dia0_utt0.mp4", 2.0, "5.1")
    film(folder / "train_splits" / "dia0_utt1.mp4", 0.2, "mono")
    (folder / "train_splits" / "dia0_utt2.mp4").write_bytes(b"damaged")
    found = probe_clips(read(folder).clips, lambda line: None)
    assert len(found.wrong) == 1
    assert "train_dia0_utt2" in found.wrong[0]
    assert any("train_dia0_utt1" in line for line in found.suspicious), found.suspicious
    assert not any("train_dia0_utt0" in line for line in found.suspicious), "5.1 sound is mixed down"
    ended = CliRunner().invoke(app, ["check", f"meld:{folder}", "--cache", str(folder.parent / "cache")])
    assert ended.exit_code == 3
    for line in (
        "dev_dia110_utt7 is left out",
        "share their source video with train",
        "text on both sides: 'I said train 1'",
        "train_dia0_utt2",
    ):
        assert line in ended.output
    ended = CliRunner().invoke(app, ["check", f"meld:{folder}", "--cache", str(folder.parent / "cache"), "--exclude", "train_dia0_utt2"])
    assert ended.exit_code == 0, ended.output
