"""Stand-ins keep the annotations, follow the modality labels, and say what they are."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from releases import CSV, read

from omnimer_ray.corpora import load, stand_ins
from omnimer_ray.corpora.clips import SENTIMENT_OF
from omnimer_ray.errors import ConfigError


@pytest.fixture
def without_media(release: Path) -> Path:
    for name in ("videos", "audio"):
        shutil.rmtree(release / name)
    return release


def test_stand_ins_load_and_are_marked(without_media: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    assert stand_ins.make(without_media, out, cache=tmp_path, limit=8, max_sec=2.5, workers=1) == 8
    corpus = load(f"indomer:{out}", cache=tmp_path)
    assert corpus.stand_in == stand_ins.STAND_IN
    assert len(corpus.clips) == 8
    real = {clip.id: clip for clip in read(without_media, need_media=False).clips}
    for clip in corpus.clips:
        assert clip.video_path is not None
        assert clip.video_path.stat().st_size > 5000
        known = real[clip.id]
        assert (clip.text, clip.emotion, clip.audio_sentiment, clip.split) == (
            known.text,
            known.emotion,
            known.audio_sentiment,
            known.split,
        )
    marker = json.loads((out / "STAND_IN.json").read_text())
    assert (marker["clips"], marker["of_clips"], marker["max_sec"]) == (8, 24, 2.5)


def test_annotations_are_copied_whole(without_media: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    stand_ins.copy_annotations(without_media, tmp_path / "copy", {clip.id for clip in read(without_media, need_media=False).clips})
    names = [CSV, *(f"{kind}_Class/{kind}_class_{split}.json" for kind in "37" for split in ("train", "val"))]
    for name in names:
        assert (tmp_path / "copy" / name).read_bytes() == (without_media / name).read_bytes()


def test_cues_follow_the_modality_labels(without_media: Path) -> None:
    clips = read(without_media, need_media=False).clips
    for made, clip in zip(stand_ins._performances(clips), clips, strict=True):
        assert SENTIMENT_OF[made.audio_emotion] == clip.audio_sentiment
        assert SENTIMENT_OF[made.video_emotion] == clip.video_sentiment
        if clip.audio_sentiment == clip.sentiment:
            assert made.audio_emotion == clip.emotion
        assert made.text == clip.text
    people = {(clip.source_video, made.person) for made, clip in zip(stand_ins._performances(clips), clips, strict=True)}
    assert max(Counter(video for video, _ in people).values()) == 1


def test_an_existing_folder_is_refused(without_media: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exists; stand-ins are made in a new folder: name another, or remove it"):
        stand_ins.make(without_media, without_media, cache=tmp_path)


def test_a_limit_too_short(without_media: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_sec 0\.1 must be 1\.0 or more"):
        stand_ins.make(without_media, tmp_path / "made", cache=tmp_path, max_sec=0.1)


def test_command(without_media: Path, tmp_path: Path) -> None:
    run = [sys.executable, "-m", "omnimer_ray.corpora", "stand-ins"]
    done = subprocess.run([*run, "mini", "--out", "x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "ConfigError: corpus 'mini': stand-ins are made for indomer:PATH\n")
    made = tmp_path / "made"
    arguments = [f"indomer:{without_media}", "--out", str(made), "--limit", "8", "--max-sec", "1.5", "--cache", str(tmp_path)]
    done = subprocess.run([*run, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"8 of 8 clips made\n8 clips with stand-in media in {made}; use it as indomer:{made}\n"
