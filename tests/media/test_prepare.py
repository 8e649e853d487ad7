"""Media are decoded and checked before any worker starts, with the faults of all clips at once."""

import io
import wave
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from making import clip, tiny_config
from PIL import Image

from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import CorpusError
from omnimer_ray.media.load import load_media
from omnimer_ray.media.prepare import prepare_media, thumbnails

MEDIA = tiny_config().media


def test_no_clips_need_no_processes(tmp_path: Path) -> None:
    assert prepare_media([], MEDIA, tmp_path, 2, lambda line: None) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_faults_of_all_clips_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "a_2.mp4").write_text("<html>not found</html>")
    clips = [clip(f"a_{index}", video_path=tmp_path / f"a_{index}.mp4") for index in range(1, 4)]
    clips[2] = clip("a_3", video_path=None)
    with pytest.raises(CorpusError) as raised:
        prepare_media(clips, MEDIA, tmp_path / "cache", 1, lambda line: None)
    first, *faults = str(raised.value).splitlines()
    assert first == "3 of 3 clips cannot be used:"
    assert [fault.split(":")[0] for fault in faults] == ["a_1", "a_2", "a_3"]


def test_suspicious_lengths_are_logged_before_a_sweep(corpus: Corpus, tmp_path: Path) -> None:
    one = corpus.clips[0]
    long = tmp_path / "long.wav"
    with wave.open(str(long), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"\1\7" * 16_000 * 7)
    logged: list[str] = []
    prepare_media([replace(one, audio_path=long, audio_hash=None)] * 12, MEDIA, tmp_path / "cache", 1, logged.append)
    line = f"suspicious: {one.id}: 2.2 s of video and 7.0 s of sound; do the two files belong together?"
    assert logged == [line] * 10 + ["suspicious: 2 more clips; python -m omnimer_ray.corpora check lists them"]
    logged.clear()
    tokens = load_media(one, MEDIA, tmp_path / "cache").num_video_tokens
    assert prepare_media([one, one], MEDIA, tmp_path / "cache", 1, logged.append) == 2 * tokens > 0
    assert logged == []


@pytest.mark.parametrize(("num_frames", "shown"), [(4, [0, 1, 2, 3]), (16, [0, 4, 8, 12]), (6, [0, 1, 3, 4])])
def test_a_strip_shows_four_frames_evenly_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_frames: int, shown: list[int]
) -> None:
    frames = np.stack([np.full((224, 112, 3), 12 * index, np.uint8) for index in range(num_frames)])  # (T, H, W, 3)
    monkeypatch.setattr("omnimer_ray.media.load.load_media", lambda *clip_and_place: SimpleNamespace(frames=frames))
    strip = Image.open(io.BytesIO(thumbnails(clip("a_1"), MEDIA, tmp_path)))
    assert (strip.format, strip.size) == ("JPEG", (4 * 56, 112))
    greys = [np.asarray(strip)[56, 28 + 56 * place, 0] for place in range(4)]
    assert [round(int(grey) / 12) for grey in greys] == shown
