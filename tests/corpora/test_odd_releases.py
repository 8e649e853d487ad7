"""A release that can be read and is odd: each case is one line of a warning or a suspicion, in `check` and before a sweep."""

import random
import re
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from releases import read, remarks

from omnimer_ray.errors import CorpusError
from omnimer_ray.media.lengths import Lengths, probe_clips, suspicious_lengths


def files(folder: Path, room: str) -> list[Path]:
    return sorted((folder / room).iterdir())


def write_wav(path: Path, seconds: float) -> None:
    """Noise, so that it is no silence."""
    noise = random.Random(0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(noise.randrange(256) for _ in range(round(seconds * 32_000))))


def copy_over(paths: list[Path]) -> None:
    """The first file's content in all of them."""
    for path in paths[1:]:
        shutil.copy(paths[0], path)


def add_strays(folder: Path) -> None:
    video = files(folder, "videos")[0]
    video.with_name(f"._{video.name}").write_bytes(b"\0\5\26\7")
    shutil.copy(video, video.with_name(f"{video.stem} (1).mp4"))
    shutil.copy(video, folder / "clip_99_Book_1.mp4")


def in_capitals(path: Path) -> None:
    path.rename(path.with_name(path.name.upper()))


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a 2 s video with a 25 s wav": (
        lambda f: write_wav(files(f, "audio")[0], 25),
        r"^clip_1_Sharing_1: 2\.0 s of video and 25\.0 s of sound; do the two files belong together\?$",
    ),
    "a clip of 0.2 s": (
        lambda f: write_wav(files(f, "audio")[0], 0.2),
        r"^clip_1_Sharing_1: 0\.20 s of sound, less than 0\.3 s$",
    ),
    "24 videos with identical bytes": (
        lambda f: copy_over(files(f, "videos")),
        r"^identical video files in 24 clips, on both sides of the split \(14 train, 10 validation\): clip_1_Sharing_1 \(train\), .* and 18 more$",
    ),
    "the same clip twice in train": (
        lambda f: [copy_over(files(f, room)[:2]) for room in ("videos", "audio")],
        r"^identical video and wav files in 2 clips: clip_1_Sharing_1 \(train\), clip_1_Sharing_2 \(train\)$",
    ),
    "the same clip in train and validation": (
        lambda f: [copy_over([files(f, room)[0], files(f, room)[-1]]) for room in ("videos", "audio")],
        r"^identical video and wav files in 2 clips, on both sides of the split \(1 train, 1 validation\): clip_1_Sharing_1 \(train\), ",
    ),
    "stray files": (
        add_strays,
        r"^media files that belong to no clip and are not read: 3, "
        r"'clip_99_Book_1\.mp4', '\._clip_1_Sharing_1\.mp4', 'clip_1_Sharing_1 \(1\)\.mp4'$",
    ),
    "a video in capitals": (
        lambda f: in_capitals(files(f, "videos")[0]),
        r"^media files found under other capitals than annotated: 1, as 'CLIP_1_SHARING_1\.MP4' for 'clip_1_Sharing_1\.mp4'$",
    ),
    "a wav in capitals": (
        lambda f: in_capitals(files(f, "audio")[0]),
        r"^media files found under other capitals than annotated: 1, as 'CLIP_1_SHARING_1\.WAV' for 'clip_1_Sharing_1\.wav'$",
    ),
}


def test_real_media_as_they_should_be_give_no_remark(real_release: Path) -> None:
    assert remarks(real_release) == []


@pytest.mark.parametrize("case", ODD)
def test_an_odd_release_is_read_with_a_remark(real_release: Path, case: str) -> None:
    spoil, expected = ODD[case]
    spoil(real_release)
    found = remarks(real_release)
    assert [line for line in found if re.search(expected, line)], found


def test_a_video_in_capitals_is_the_same_corpus(real_release: Path) -> None:
    before = read(real_release).fingerprint
    in_capitals(files(real_release, "videos")[0])
    assert read(real_release).fingerprint == before


def test_two_files_that_differ_in_capitals_are_a_fault(real_release: Path) -> None:
    video = files(real_release, "videos")[0]
    for name in (video.name.upper(), video.name.title()):
        shutil.copy(video, video.with_name(name))
    assert any("belong to no clip" in line for line in read(real_release).warnings), "the exact name is chosen"
    video.unlink()
    with pytest.raises(CorpusError, match=r"row 2: 'clip_1_.*\.mp4' may be 'CLIP_1_.*\.MP4' or 'Clip_1_.*\.Mp4' in .*/videos; keep one"):
        read(real_release)
    assert len(read(real_release, need_media=False).clips) == 24


def test_files_of_excluded_clips_are_no_strays(real_release: Path) -> None:
    assert read(real_release, exclude=["clip_1_Sharing_1"]).warnings == ()


@pytest.mark.parametrize(
    ("video_sec", "audio_sec", "differ"),
    [(2, 3, False), (2, 3.01, True), (10, 12.5, False), (10, 12.6, True), (25, 2, True), (0.35, 0.31, False)],
)
def test_tracks_may_differ_by_a_second_or_a_fifth(video_sec: float, audio_sec: float, differ: bool) -> None:
    lines = suspicious_lengths("clip_1", Lengths(video_sec, audio_sec))
    assert [f"clip_1: {video_sec:.1f} s of video and {audio_sec:.1f} s of sound; do the two files belong together?"] * differ == lines


def test_without_a_wav_the_videos_own_track_is_measured(real_release: Path) -> None:
    for path in files(real_release, "audio"):
        path.unlink()
    found = probe_clips(read(real_release).clips, lambda line: None)
    assert found.suspicious == []
    assert found.wrong == [], "the videos of mini have sound"


def test_the_command_reports_all_of_them_and_damaged_media(real_release: Path, tmp_path: Path) -> None:
    ODD["the same clip in train and validation"][0](real_release)
    write_wav(files(real_release, "audio")[1], 25)
    files(real_release, "videos")[3].write_bytes(b"<html>not found</html>")
    add_strays(real_release)
    line = [sys.executable, "-m", "omnimer_ray.corpora", "check", f"indomer:{real_release}", "--cache", str(tmp_path / "cache")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    warnings, suspicious, wrong = re.split(r"\n(?:Warnings|Suspicious|Wrong):\n", done.stdout)[1:]
    assert "\n  media files that belong to no clip and are not read: 3, " in f"\n{warnings}"
    assert "\n  identical video and wav files in 2 clips, on both sides of the split (1 train, 1 validation): " in f"\n{warnings}"
    assert "\n  clip_1_Sharing_2: 2.0 s of video and 25.0 s of sound; do the two files belong together?\n" in suspicious
    expected = "clip_1_Sharing_4.mp4: it is a web page (HTML), not media; fetch the file again, or list the clip under 'exclude'\n"
    assert wrong == f"  clip_1_Sharing_4: {expected}"
