"""Decoding, in this process: which frames, of which size and when, and what sound."""

from __future__ import annotations

import random
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from bad_media import QUARTER_TURN, picture, tone, write_media
from PIL import Image

from omnimer_ray.config import MediaConfig
from omnimer_ray.media import container, decode
from omnimer_ray.media.container import Fault, scan
from omnimer_ray.media.decode import budget, num_frames, picks

EDITED = {"avoid_negative_ts": "disabled", "use_editlist": "1"}


def decoded_video(path: Path, **settings: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """(T, H, W, 3) frames and what decode_video returns."""
    frames: list[np.ndarray] = []

    def send(message: dict[str, Any], payload: bytes = b"") -> None:
        if "shape" in message:
            frames.append(np.frombuffer(payload, np.uint8).reshape(message["shape"]))

    done = decode.decode_video({"path": str(path), **MediaConfig(**settings).model_dump()}, send)
    return np.stack(frames), done


def decoded_audio(path: Path, **settings: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """(samples,) float32 and what decode_audio returns."""
    waves: list[bytes] = []
    done = decode.decode_audio(
        {"path": str(path), **MediaConfig(**settings).model_dump()}, lambda _message, payload=b"": waves.append(payload)
    )
    return np.frombuffer(waves[0], np.float32), done


def numbered(index: int, width: int, height: int) -> np.ndarray:
    """A grey frame that tells its index by its brightness."""
    return np.full((height, width, 3), 20 + 3 * index, np.uint8)


def indices(frames: np.ndarray) -> list[int]:
    """The indices that `numbered` frames tell."""
    return [round((float(frame.mean()) - 20) / 3) for frame in frames]


def test_budget_is_qwen_omni_utils() -> None:
    smart_resize = pytest.importorskip("qwen_omni_utils.v2_5.vision_process").smart_resize
    rng = random.Random(0)
    for _ in range(2000):
        height, width = rng.randint(100, 3000), rng.randint(100, 3000)
        least = rng.randint(1, 300) * 784
        most = least + rng.randint(0, 300) * 784
        assert budget(height, width, least, most) == smart_resize(height, width, 28, least, most)


def test_budget_refuses_a_ribbon() -> None:
    with pytest.raises(Fault, match="its frames of 3300x16 pixels are more than 200 times as long as wide"):
        budget(16, 3300, 784, 7840)
    with pytest.raises(Fault, match="its frames of 3200x16 pixels are too long to be resized to 12544 pixels"):
        budget(16, 3200, 784, 16 * 784)


def test_frame_choice_is_the_reference_at_a_constant_rate() -> None:
    reference = pytest.importorskip("qwen_omni_utils.v2_5.vision_process").smart_nframes
    torch = pytest.importorskip("torch")
    for rate in (25.0, 30_000 / 1001, 24.0, 12.0):
        for total in (8, 13, 25, 60, 61, 243, 700):
            count = num_frames(total / rate, total, 2.0, 4, 64)
            assert count == reference({"fps": 2.0, "min_frames": 4, "max_frames": 64}, total, rate)
            expected = torch.linspace(0, total - 1, count).round().long().tolist()
            assert picks([index / rate for index in range(total)], count) == expected


@pytest.mark.parametrize(
    ("available", "seconds", "count"), [(1, 0.04, 4), (3, 0.12, 4), (5, 0.2, 4), (25, 1.0, 4), (300, 12.0, 24), (12, 12.0, 12)]
)
def test_number_of_frames(available: int, seconds: float, count: int) -> None:
    assert num_frames(seconds, available, 2.0, 4, 64) == count


def test_a_shorter_video_repeats_its_last_frame() -> None:
    assert picks([0.0, 0.04, 0.08], 4) == [0, 1, 2, 2]


def test_the_rate_is_of_the_frames_kept(tmp_path: Path) -> None:
    write_media(path := tmp_path / "slow.mp4", frames=12, rate=Fraction(1))
    frames, done = decoded_video(path)
    assert len(frames) == 12
    assert done["sampled_fps"] == pytest.approx(1.0)
    assert done["seconds"] == pytest.approx(12.0)


def test_frames_are_the_reference_resize_of_the_decoded_ones(tmp_path: Path) -> None:
    write_media(path := tmp_path / "clip.mp4", frames=50, size=(200, 120))
    frames, _ = decoded_video(path)
    with av.open(str(path)) as container:
        images = [frame.to_image() for frame in container.decode(video=0)]
    for got, index in zip(frames, [0, 16, 33, 49], strict=True):
        assert got.shape == (252, 420, 3)
        assert np.array_equal(got, np.asarray(images[index].resize((420, 252), Image.Resampling.BICUBIC)))


def test_frames_are_within_rounding_of_torchvision(tmp_path: Path) -> None:
    """The reference resizes what it reads from a file by torchvision, and frames that it is given by PIL."""
    functional = pytest.importorskip("torchvision.transforms.functional")
    torch = pytest.importorskip("torch")
    write_media(path := tmp_path / "clip.mp4", frames=50, size=(200, 120))
    frames, _ = decoded_video(path)
    with av.open(str(path)) as container:
        first = torch.from_numpy(next(container.decode(video=0)).to_ndarray(format="rgb24")).permute(2, 0, 1)
    resized = functional.resize(first, [252, 420], interpolation=functional.InterpolationMode.BICUBIC, antialias=True)
    difference = np.abs(resized.permute(1, 2, 0).numpy().astype(int) - frames[0])
    assert (difference > 1).mean() < 1e-4  # they clip overshoots at edges in another order


def test_variable_rate_is_sampled_by_time(tmp_path: Path) -> None:
    times = [index / 20 for index in range(20)] + [1 + index / 5 for index in range(5)]  # 20 frames in one second, 5 in the next
    write_media(path := tmp_path / "vfr.mkv", container="matroska", codec="libx264", frames=25, times=times, picture=numbered)
    frames, done = decoded_video(path)
    assert indices(frames) == [0, 12, 21, 24]  # near 0, 0.6, 1.2 and 1.8 s
    assert done["sampled_fps"] == pytest.approx(2.0, abs=0.3)


def test_a_video_is_turned_upright(tmp_path: Path) -> None:
    def corner(index: int, width: int, height: int) -> np.ndarray:
        image = np.zeros((height, width, 3), np.uint8)
        image[: height // 2, : width // 2] = 255  # top left
        return image

    write_media(path := tmp_path / "phone.mp4", picture=corner, matrix=QUARTER_TURN)
    frames, done = decoded_video(path)
    _, height, width, _ = frames.shape
    assert done["rotation"] == 270  # counter-clockwise
    assert height > width
    assert frames[0, : height // 2 - 20, width // 2 + 20 :].min() > 200  # now top right
    assert frames[0, height // 2 + 20 :].max() < 60


def test_media_after_max_sec_are_not_read(tmp_path: Path) -> None:
    write_media(path := tmp_path / "long.mp4", frames=100, size=(64, 64), picture=lambda index, *size: numbered(index // 2, *size))
    frames, done = decoded_video(path, max_sec=2.0)
    assert done["cut"]
    assert done["seconds"] == 2.0
    assert len(frames) == 4
    assert indices(frames)[-1] <= 25
    sound, about = decoded_audio(path, max_sec=2.0)
    assert about["cut"]
    assert len(sound) == 32_000
    assert not decoded_video(path, max_sec=4.0)[1]["cut"]
    assert not decoded_audio(path, max_sec=4.0)[1]["cut"]  # the last packet's padding is no sound


@pytest.mark.parametrize(("hz", "layout"), [(8000, "mono"), (22_050, "stereo"), (44_100, "stereo"), (48_000, "5.1"), (96_000, "mono")])
def test_sound_of_any_rate_and_layout_is_the_same_tone(tmp_path: Path, hz: int, layout: str) -> None:
    write_media(path := tmp_path / "a.wav", container="wav", frames=0, seconds=2.0, hz=hz, layout=layout, audio_codec="pcm_s16le")
    got, done = decoded_audio(path)
    assert done["seconds"] == pytest.approx(2.0, abs=0.005)
    expected = tone(2.0, 16_000)[0]
    middle = slice(4000, 28_000)
    lag = min(range(-20, 21), key=lambda shift: float(np.abs(np.roll(got, shift)[middle] - expected[middle]).mean()))
    likeness = np.corrcoef(np.roll(got, lag)[middle], expected[middle])[0, 1]
    assert likeness > 0.99


def test_stereo_is_averaged(tmp_path: Path) -> None:
    sound = np.concatenate([tone(1.0, 16_000), np.zeros((1, 16_000), np.float32)])
    write_media(path := tmp_path / "a.wav", container="wav", frames=0, seconds=1.0, layout="stereo", audio_codec="pcm_s16le", sound=sound)
    got, _ = decoded_audio(path)
    assert np.abs(got - sound[0] / 2).max() < 2**-15


def test_16_khz_mono_is_passed_through(tmp_path: Path) -> None:
    write_media(path := tmp_path / "a.wav", container="wav", frames=0, seconds=1.0, audio_codec="pcm_f32le")
    assert np.allclose(decoded_audio(path)[0], tone(1.0, 16_000)[0], rtol=0, atol=2**-31)


def test_numbers_that_are_none_are_an_error(tmp_path: Path) -> None:
    write_media(
        path := tmp_path / "a.wav",
        container="wav",
        frames=0,
        seconds=1.0,
        audio_codec="pcm_f32le",
        sound=np.full((1, 999), np.nan, np.float32),
    )
    with pytest.raises(Fault, match=r"its sound holds samples that are no numbers \(NaN or infinite\)"):
        decoded_audio(path)


def test_channels_that_cannot_be_mixed_are_an_error(tmp_path: Path) -> None:
    with wave.open(str(path := tmp_path / "a.wav"), "wb") as file:
        file.setparams((9, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(18 * 1600))
    with pytest.raises(Fault, match=r"its sound \(9 channels at 16000 Hz\) cannot be mixed down"):
        decoded_audio(path)


def test_a_track_may_change_its_rate_on_the_way() -> None:
    def frames() -> Any:
        for hz in (16_000, 8_000):
            block = av.AudioFrame.from_ndarray(tone(1.0, hz), format="fltp", layout="mono")
            block.sample_rate = hz
            yield block

    assert sum(len(block) for block in decode._samples(frames())) == pytest.approx(32_000, abs=50)


def test_frames_that_change_size_take_the_first_ones(tmp_path: Path) -> None:
    parts = []
    for size in ((128, 96), (64, 64)):
        write_media(part := tmp_path / f"{size[0]}.h264", container="h264", codec="libx264", seconds=0, frames=25, size=size)
        parts.append(part.read_bytes())
    (path := tmp_path / "both.h264").write_bytes(b"".join(parts))
    frames, done = decoded_video(path)
    assert frames.shape[1:] == (280, 392, 3)
    assert done["decoded"] == 50


def test_sizes_are_refused_before_decoding() -> None:
    with pytest.raises(Fault, match="its frames have 8000x6000 pixels; 40,000,000 are the most"):
        container.check_size(8000, 6000)


def test_scan_reads_the_time_line(tmp_path: Path) -> None:
    write_media(path := tmp_path / "clip.mp4", frames=50)
    plan = scan(str(path), "video", 30.0)
    assert plan.times == pytest.approx([index / 25 for index in range(50)])
    assert plan.duration_sec == pytest.approx(2.0)
    assert plan.declared == 50
    assert plan.missing_sec == pytest.approx(0, abs=0.01)


def test_an_edit_list_hides_frames(tmp_path: Path) -> None:
    """A clip cut out of a longer video without re-encoding keeps frames that are not shown."""
    write_media(path := tmp_path / "whole.mp4", frames=50, codec="libx264", picture=numbered)
    with av.open(str(path)) as source, av.open(str(tmp_path / "part.mp4"), "w", options=EDITED) as target:
        stream = source.streams.video[0]
        back = round(Fraction(1, 5) / stream.time_base)  # five frames before zero
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                packet.pts, packet.dts = packet.pts - back, packet.dts - back
                target.mux(packet)
    frames, done = decoded_video(tmp_path / "part.mp4")
    assert done["decoded"] == 45
    assert indices(frames)[0] == 5


def test_a_small_loss_is_filled_by_the_nearest_frame(tmp_path: Path) -> None:
    write_media(path := tmp_path / "clip.mp4", frames=60, codec="mjpeg", picture=numbered)
    with av.open(str(path)) as container:
        last = [packet for packet in container.demux(video=0) if packet.size][-1]
    data = bytearray(path.read_bytes())
    data[last.pos : last.pos + last.size] = bytes(last.size)
    path.write_bytes(bytes(data))
    frames, done = decoded_video(path)
    assert done["decoded"] == 59
    assert indices(frames)[-1] == 58


def test_a_concat_script_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_media(tmp_path / "secret.wav", container="wav", frames=0, seconds=1.0, audio_codec="pcm_s16le")
    (script := tmp_path / "clip.mp4").write_text("ffconcat version 1.0\nfile secret.wav\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Fault, match="it is a playlist; media that it names are not opened"), container.opened(str(script)):
        pass


def test_a_track_that_appears_on_the_way_does_no_harm(tmp_path: Path) -> None:
    parts = []
    for seconds in (0.0, 1.0):
        write_media(part := tmp_path / "part.ts", container="mpegts", codec="libx264", frames=25, seconds=seconds)
        parts.append(part.read_bytes())
    (path := tmp_path / "both.ts").write_bytes(b"".join(parts))
    with container.opened(str(path)) as opened:
        packets = [packet for packet in container.packets(opened) if packet.size]
    assert len(packets) >= 50


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    write_media(path := tmp_path / "song.mp4", frames=0, seconds=1.0)
    with av.open(str(path)) as source, av.open(str(tmp_path / "cover.m4a"), "w", format="mp4") as target:
        sound = target.add_stream_from_template(source.streams.audio[0])
        cover = target.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        target.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0, 64, 48), format="rgb24")))
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                target.mux(packet)
    with pytest.raises(Fault, match=r"no video track in it \(it holds: audio\)"):
        scan(str(tmp_path / "cover.m4a"), "video", 30.0)
    assert scan(str(tmp_path / "cover.m4a"), "audio", 30.0).times


@pytest.mark.parametrize(
    ("packets", "decoded", "damaged", "missing", "text"),
    [
        (8, 0, 0, 0.0, "0 of 8 declared frames could be decoded"),
        (8, 5, 0, 0.0, "5 of 8 declared frames could be decoded"),
        (5, 5, 0, 0.0, "5 of 8 declared frames could be decoded"),
        (8, 8, 3, 0.0, "3 of 8 frames are damaged"),
        (8, 8, 0, 1.5, "it ends 1.5 s before the length that it states"),
    ],
)
def test_clearly_missing_frames_are_an_error(packets: int, decoded: int, damaged: int, missing: float, text: str) -> None:
    plan = container.Scan([index / 25 for index in range(packets)], packets / 25, packets / 25, False, 8, missing)
    with pytest.raises(Fault, match=text):
        decode._check_frames(plan, decoded, damaged, with_errors=decoded < packets)


def test_fewer_frames_than_packets_are_in_order_without_an_error() -> None:
    plan = container.Scan([index / 50 for index in range(100)], 2.0, 2.0, False, 0, 0.0)
    decode._check_frames(plan, 50, 0, with_errors=False)  # a packet per field
    with pytest.raises(Fault, match="50 of 100 declared frames could be decoded"):
        decode._check_frames(plan, 50, 0, with_errors=True)


def test_clearly_missing_samples_are_an_error() -> None:
    plan = container.Scan([0.0, 1.0], 9.0, 2.0, False, 0, 0.0)
    with pytest.raises(Fault, match=r"1.2 of 2.0 s of its sound could be decoded"):
        decode._check_sound(plan, 1.2)
    decode._check_sound(plan, 1.9)
