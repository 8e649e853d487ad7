"""A clip's media as the model gets them; errors of bad files; the report on a file."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_media import Odd, make, media_bytes, tone, write_media, write_wav
from making import tiny_config

from omnimer_ray.config import MediaConfig
from omnimer_ray.corpora import assembly
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.files import content_hashes
from omnimer_ray.errors import MachineError, MediaError
from omnimer_ray.execution.handout import read_manifest, write_manifest
from omnimer_ray.media import child_process, load
from omnimer_ray.media.__main__ import main
from omnimer_ray.media.container import Fault
from omnimer_ray.media.load import ClipMedia, load_media, log_mel, probe

KILLED = """
import json, os, signal, struct, sys
head = json.dumps({"ready": 1, "bytes": 0}).encode()
os.write(1, struct.pack("<I", len(head)) + head)
sys.stdin.buffer.read(4)
os.kill(os.getpid(), signal.SIGKILL)
"""

ROOT = Path(load.__file__).parents[2]


def clip_of(video: Path | None, audio: Path | None = None, name: str = "clip_12_Cooking_3") -> Clip:
    return Clip(name, "12", "Cooking", "train", "teks", None, None, None, None, None, video, audio)


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Odd]:
    return {case.name: case for case in make(tmp_path_factory.mktemp("bad"))}


@pytest.fixture(scope="module")
def processor() -> Any:
    """Qwen2.5-Omni's own processor; only its tokenizer is a toy."""
    transformers = pytest.importorskip("transformers")
    special = ("IMAGE", "AUDIO", "VIDEO", "vision_bos", "vision_eos", "audio_bos", "audio_eos")
    names = ("image_token", "audio_token", "video_token", "vision_bos_token", "vision_eos_token", "audio_bos_token", "audio_eos_token")
    tokens = {name: f"<|{word}|>" for name, word in zip(names, special, strict=True)}
    letters = {letter: index for index, letter in enumerate("abcdefghijklmnopqrstuvwxyzĠ")}
    return transformers.Qwen2_5OmniProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(),
        video_processor=transformers.Qwen2VLVideoProcessor(),
        feature_extractor=transformers.WhisperFeatureExtractor(feature_size=128, chunk_length=300, return_attention_mask=True),
        tokenizer=transformers.Qwen2Tokenizer(vocab=letters, merges=[], extra_special_tokens=tokens),
    )


BAD = [
    *("absent.mp4", "empty.mp4", "directory.mp4", "fifo.mp4", "loop.mp4", "dangling.mp4", "html.mp4", "json.mp4", "random.mp4"),
    *("zeros.mp4", "pickle.mp4", "zip.mp4", "playlist.mp4", "concat.mp4", "session.mp4", "subtitles.mp4", "jpeg.mp4", "png.mp4"),
    *("cut_before_index.mp4", "cut_half.mp4", "cut_tenth.mp4", "cut_in_index.mp4", "cut.mkv", "cut.avi", "hole.mp4", "noise.mp4"),
    *("wav_cut.mp4", "wav_header_only.mp4", "wav_html.mp4", "wav_nan.mp4", "wav_tiny.mp4", "no_audio.mp4", "no_video.mp4"),
    *("no_frames.mp4", "unknown_codec.mkv", "wide.mp4", "huge.avi"),
]
ODD = {  # what loads, with its (sampled frames, frames per second, seconds of sound)
    "good.mp4": (4, 2.0, 2.0),
    "one_frame.mp4": (4, 100.0, 2.0),
    "three_frames.mp4": (4, 33.33, 2.0),
    "black.mp4": (4, 2.0, 2.0),
    "long.mp4": (60, 2.0, 30.0),
    "ntsc.mp4": (4, 2.4, 1.7),
    "variable_rate.mkv": (4, 2.02, 2.0),
    "rotated.mp4": (4, 2.0, 2.0),
    "odd_size.mkv": (4, 2.0, 2.0),
    "matroska.mp4": (4, 2.0, 2.0),
    "avi.mp4": (4, 1.92, 2.1),
    "transport.ts": (4, 2.0, 2.1),
    "webm.mp4": (4, 2.0, 2.0),
    "fragmented.mp4": (4, 1.94, 2.1),
    "hevc.mp4": (4, 4.0, 1.0),
    "raw_h264.mp4": (4, 2.0, 2.0),
    "animation.gif": (4, 10.0, 2.0),
    "silent.mp4": (4, 2.0, 2.0),
    "stereo.mp4": (4, 2.0, 2.0),
    "surround.mp4": (4, 2.0, 2.0),
    "telephone.mp4": (4, 2.0, 2.0),
    "flac.mp4": (4, 2.0, 2.0),
    "mp3.mp4": (4, 2.0, 2.0),
    "opus.mp4": (4, 2.0, 2.0),
}


def test_every_bad_or_odd_file_is_tested(bad: dict[str, Odd]) -> None:
    assert {name for name, case in bad.items() if case.error} == set(BAD)
    assert {name for name, case in bad.items() if not case.error} == set(ODD)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_error(bad: dict[str, Odd], tmp_path: Path, name: str) -> None:
    case = bad[name]
    assert case.error is not None
    begin = time.monotonic()
    with pytest.raises(MediaError) as caught:
        load_media(clip_of(case.video, case.audio), MediaConfig(), tmp_path)
    text = str(caught.value)
    assert time.monotonic() - begin < 10
    assert text.startswith(f"clip_12_Cooking_3: {case.video.parent}/")
    assert case.error in text
    assert text.endswith(", or list the clip under 'exclude'.")
    assert not list(tmp_path.glob("media/*.safetensors"))
    assert all(child.process.poll() is None for child in child_process._idle)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_loads(bad: dict[str, Odd], tmp_path: Path, name: str) -> None:
    count, rate, seconds = ODD[name]
    got = load_media(clip_of(bad[name].video, bad[name].audio), MediaConfig(), tmp_path)
    _, height, width, _ = got.frames.shape
    assert got.frames.dtype == np.uint8
    assert got.frames.shape == (count, height, width, 3)
    assert height % 28 == width % 28 == 0
    assert 128 * 784 <= height * width <= 256 * 784
    assert got.sampled_fps == pytest.approx(rate, abs=0.01)
    assert got.sampled_fps * got.video_sec == pytest.approx(count)
    assert got.mel.dtype == np.float32
    assert got.mel.shape == (128, round(got.audio_sec * 16_000 + 159) // 160)
    assert got.audio_sec == pytest.approx(seconds, abs=0.06)
    assert np.isfinite(got.mel).all()
    assert got.cut == (name == "long.mp4")


def test_mel_and_tokens_are_the_processors_own(processor: Any, tmp_path: Path) -> None:
    write_media(video := tmp_path / "a.mp4", frames=130, size=(240, 180), seconds=0)
    write_wav(audio := tmp_path / "a.wav", tone(5.43, 16_000)[0])
    config = MediaConfig(min_pixels=16 * 784, max_pixels=64 * 784)
    got = load_media(clip_of(video, audio), config, tmp_path / "cache")
    import torch

    samples = (tone(5.43, 16_000)[0] * 32767).astype(np.int16).astype(np.float32) / 32768
    out = processor(
        text="<|AUDIO|><|VIDEO|>",
        audio=[samples],
        videos=[torch.from_numpy(got.frames).permute(0, 3, 1, 2)],
        videos_kwargs={
            "do_sample_frames": False,
            "fps": got.sampled_fps,
            "size": {"shortest_edge": config.min_pixels, "longest_edge": config.max_pixels},
        },
        return_tensors="pt",
    )
    length = int(out["feature_attention_mask"].sum())
    assert got.mel.shape == (128, length)
    assert np.abs(out["input_features"][0, :, :length].numpy() - got.mel).max() < 2e-5  # sums in another order
    ids = out["input_ids"][0].tolist()
    assert got.num_audio_tokens == ids.count(processor.audio_token_id) == 136
    assert got.num_video_tokens == ids.count(processor.video_token_id)
    assert float(out["video_second_per_grid"][0]) == pytest.approx(2 / got.sampled_fps)


@pytest.mark.parametrize("samples", [480, 481, 639, 640, 641, 15_999, 16_000, 16_001])
def test_mel_length_and_audio_tokens_follow_the_reference(samples: int) -> None:
    lengths = pytest.importorskip("transformers.models.qwen2_5_omni.processing_qwen2_5_omni")._get_feat_extract_output_lengths
    mel = log_mel(tone(2.0, 16_000)[0][:samples])
    assert mel.shape == (128, -(-samples // 160))
    got = ClipMedia(np.zeros((4, 28, 56, 3), np.uint8), 2.0, mel, 2.0, 1.0, False)
    assert got.num_audio_tokens == lengths(mel.shape[1])
    assert got.num_video_tokens == 2 * 1 * 2


def test_decoded_once_for_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_media(video := tmp_path / "a.mp4")
    write_media(copy := tmp_path / "elsewhere.mp4")
    copy.write_bytes(video.read_bytes())
    first = load_media(clip_of(video), MediaConfig(), tmp_path / "cache")
    with monkeypatch.context() as patched:
        patched.setattr(child_process, "ask", lambda request: pytest.fail("decoded again"))
        for path in (video, copy):  # by content, not by name
            second = load_media(clip_of(path), MediaConfig(), tmp_path / "cache")
            assert np.array_equal(first.frames, second.frames)
            assert np.array_equal(first.mel, second.mel)
            assert first[1:2] + first[3:] == second[1:2] + second[3:]
            assert second.frames.flags.writeable
    for changed in (MediaConfig(frames_per_second=4.0), MediaConfig(max_sec=1.0), MediaConfig(max_pixels=200 * 784)):
        load_media(clip_of(video), changed, tmp_path / "cache")
    assert len(list((tmp_path / "cache" / "media").glob("*.safetensors"))) == 4


def test_a_damaged_entry_is_made_again(tmp_path: Path) -> None:
    write_media(video := tmp_path / "a.mp4")
    first = load_media(clip_of(video), MediaConfig(), tmp_path / "cache")
    (entry,) = (tmp_path / "cache" / "media").glob("*.safetensors")
    whole = entry.read_bytes()
    for damaged in (whole[:-9], b"", whole[:5000] + b"x" + whole[5001:]):
        entry.write_bytes(damaged)
        again = load_media(clip_of(video), MediaConfig(), tmp_path / "cache")
        assert np.array_equal(first.frames, again.frames)
        assert entry.read_bytes() == whole


def test_several_at_once_share_a_cache(tmp_path: Path) -> None:
    write_media(video := tmp_path / "a.mp4")
    got: list[ClipMedia] = []
    threads = [threading.Thread(target=lambda: got.append(load_media(clip_of(video), MediaConfig(), tmp_path / "cache"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    assert all(np.array_equal(got[0].frames, other.frames) and np.array_equal(got[0].mel, other.mel) for other in got)
    assert [file.suffix for file in (tmp_path / "cache" / "media").iterdir() if file.is_file()] == [".safetensors"]


def test_the_wav_or_the_own_track(tmp_path: Path) -> None:
    write_media(video := tmp_path / "a.mp4", seconds=2.0)
    write_wav(wav := tmp_path / "a.wav", tone(1.0, 16_000)[0])
    assert load_media(clip_of(video, wav), MediaConfig(), tmp_path).audio_sec == pytest.approx(1.0)
    assert load_media(clip_of(video, wav), MediaConfig(audio_source="track"), tmp_path).audio_sec == pytest.approx(2.0, abs=0.1)
    assert load_media(clip_of(video), MediaConfig(), tmp_path).audio_sec == pytest.approx(2.0, abs=0.1)
    with pytest.raises(MediaError, match=r"b.wav: it is absent; put it there"):
        load_media(clip_of(video, tmp_path / "b.wav"), MediaConfig(), tmp_path)


def test_an_unknown_audio_source_is_refused(tmp_path: Path) -> None:
    write_media(video := tmp_path / "a.mp4", seconds=1.0)
    settings = MediaConfig().model_copy(update={"audio_source": "both"})
    with pytest.raises(AssertionError, match="'both'"):
        load_media(clip_of(video), settings, tmp_path)


@pytest.fixture
def planned(tmp_path: Path) -> Clip:
    """A clip as a worker's manifest has it: with the hashes of the files that the driver saw."""
    write_media(video := tmp_path / "a.mp4", seconds=2.0)
    write_wav(wav := tmp_path / "a.wav", tone(1.0, 16_000)[0])
    return with_hashes(clip_of(video, wav))


def with_hashes(clip: Clip) -> Clip:
    hashes = content_hashes([path for path in (clip.video_path, clip.audio_path) if path], None)
    write_manifest(manifest := Path(str(clip.video_path)).parent / "manifest.json", assembly.with_hashes([clip], hashes))
    (read,) = read_manifest(manifest, tiny_config())
    assert read.video_hash is not None
    return read


def test_media_that_are_the_planned_ones_are_loaded(planned: Clip, tmp_path: Path) -> None:
    for settings in (MediaConfig(), MediaConfig(audio_source="track")):
        plain = replace(planned, video_hash=None, audio_hash=None)
        assert load_media(planned, settings, tmp_path).audio_sec == load_media(plain, settings, tmp_path).audio_sec


@pytest.mark.parametrize("name", ["a.mp4", "a.wav"])
def test_media_that_differ_on_this_node_are_a_machine_fault(name: str, planned: Clip, tmp_path: Path) -> None:
    load_media(planned, MediaConfig(), tmp_path / "cache")
    write_media(tmp_path / "a.mp4", seconds=1.0) if name == "a.mp4" else write_wav(tmp_path / name, tone(0.5, 16_000)[0])
    with pytest.raises(MachineError) as raised:
        load_media(planned, MediaConfig(), tmp_path / "cache")
    was, now = (hashed.video_hash if name == "a.mp4" else hashed.audio_hash for hashed in (planned, with_hashes(planned)))
    assert was is not None
    assert now is not None
    assert str(raised.value) == (
        f"{planned.id}: {tmp_path / name} on {platform.node()} has contents with hash {now[:16]}, and the plan was made for {was[:16]}; "
        "copy the corpus there again, or give the same command again if the file was changed on purpose"
    )


@pytest.mark.parametrize("spoil", ["unlink", "mkdir", "empty", "cut"])
def test_media_that_only_this_node_lacks_are_a_machine_fault(spoil: str, planned: Clip, tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    whole = video.read_bytes()
    video.unlink()
    if spoil == "mkdir":
        video.mkdir()
    elif spoil != "unlink":
        video.write_bytes(b"" if spoil == "empty" else whole[:-999])
    with pytest.raises(MachineError) as raised:
        load_media(planned, MediaConfig(), tmp_path / "cache")
    if spoil in ("unlink", "mkdir"):
        where = f"{planned.id}: {video} cannot be read on {platform.node()}"
        assert str(raised.value) == f"{where} (absent, or not a file); mount or copy the corpus there"
    else:
        assert "has contents with hash" in str(raised.value)


@pytest.mark.parametrize("contents", [b"", b"<html>404"])
def test_a_bad_file_with_the_drivers_hash_is_a_fault_of_the_clip(contents: bytes, planned: Clip, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(contents)
    with pytest.raises(MediaError, match=rf"^{planned.id}: {tmp_path}/a.mp4: "):
        load_media(with_hashes(planned), MediaConfig(), tmp_path / "cache")


def test_a_share_that_disappears_during_decoding_is_a_machine_fault(planned: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(request: dict[str, Any]) -> child_process.Answer:
        Path(request["path"]).unlink()
        raise Fault("it cannot be opened")

    monkeypatch.setattr(child_process, "ask", gone)
    with pytest.raises(MachineError, match=r"a\.mp4 cannot be read on .* \(absent, or not a file\); mount or copy the corpus there$"):
        load_media(planned, MediaConfig(), tmp_path / "cache")


def test_a_decoder_that_is_killed_from_outside_is_a_machine_fault(planned: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "_COMMAND", [sys.executable, "-c", KILLED])
    while child_process._idle:
        child_process._idle.pop().close()
    with pytest.raises(MachineError) as raised:
        load_media(planned, MediaConfig(), tmp_path / "cache")
    assert str(raised.value) == (
        f"{planned.id}: {planned.video_path}: its decoder was killed from outside (SIGKILL), as a machine out of memory does, "
        f"on {platform.node()}; free memory"
    )


def test_a_clip_without_a_video_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        MediaError, match=r"^clip_12_Cooking_3: it has no video file; give its video_path, or list the clip under 'exclude'.$"
    ):
        load_media(clip_of(None), MediaConfig(), tmp_path)


def test_the_error_of_the_style_guide(tmp_path: Path) -> None:
    fast = media_bytes(frames=8, seconds=0, options={"movflags": "faststart"}, codec="mjpeg")
    (video := tmp_path / "a.mp4").write_bytes(fast[: len(fast) * 70 // 100])
    with pytest.raises(
        MediaError, match=r"5 of 8 declared frames could be decoded; fetch the file again, or list the clip under 'exclude'."
    ):
        load_media(clip_of(video), MediaConfig(), tmp_path)


def test_probe_reports_the_contents_of_a_file(bad: dict[str, Odd]) -> None:
    report = probe(bad["rotated.mp4"].video)
    assert report[1:8] == ("mov,mp4,m4a,3gp,3g2,mj2", "mpeg4", 128, 96, 270, 25.0, 50)
    assert (report.decoded_frames, report.damaged_frames, report.num_frames) == (50, 0, 4)
    assert (report.frame_width, report.frame_height) == (280, 392)
    assert (report.audio_codec, report.channels, report.audio_hz) == ("aac", 1, 16_000)
    assert report.num_video_tokens == 2 * 10 * 14
    assert report.num_audio_tokens == 51
    assert (report.error, report.cut, report.silent, report.black) == ("", False, False, False)


def test_probe_marks_suspicious_values(bad: dict[str, Odd]) -> None:
    assert probe(bad["silent.mp4"].video).silent
    assert probe(bad["black.mp4"].video).black
    assert not probe(bad["black.mp4"].video).silent
    assert probe(bad["long.mp4"].video).cut


@pytest.mark.parametrize("name", [name for name in BAD if not name.startswith(("wav_", "no_audio", "no_video"))])
def test_probe_reports_the_fault(bad: dict[str, Odd], name: str) -> None:
    error = bad[name].error
    assert error is not None
    message = probe(bad[name].video).error
    assert "neither a video nor an audio track" in message or error.split(";")[0].removeprefix("is ") in message


def test_the_command_prints_a_table(bad: dict[str, Odd], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(bad["good.mp4"].video), str(bad["html.mp4"].video)]) == 3
    header, good, html = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "container", "video", "frames", "rate", "audio", "seconds", "tokens", "error"]
    assert good.split() == [
        *("good.mp4", "mov", "mpeg4", "128x96", "25", "fps", "4", "of", "392x280", "2.000"),
        *("aac", "16000", "Hz", "x1", "2.05", "280", "+", "51"),
    ]
    assert html.split("  ")[-1].strip() == "it is a web page (HTML), not media"
    assert main([str(bad["good.mp4"].video)]) == 0


def test_every_sample_file_can_be_used(media_samples: Path) -> None:
    files = sorted(file for file in media_samples.iterdir() if file.is_file())
    reports = [probe(file) for file in files]
    assert files
    assert [report.error for report in reports] == [""] * len(files)
    assert all(report.num_video_tokens or report.num_audio_tokens for report in reports)


def test_importing_the_media_room_is_light() -> None:
    code = "import sys, omnimer_ray.media.load; print([m for m in ('torch', 'transformers', 'av', 'PIL', 'safetensors', 'ray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
