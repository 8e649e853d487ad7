"""Model inputs and labels from a conversation and media; collation; token counts.

Shapes: B items in a micro-batch, L tokens of the longest item, A answer tokens, P vision patches of 1176 values, M mel frames. Where the
vision tower's outputs are kept, they take the place of the pixels: (P / 4, D), D the width of the language model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from omnimer_ray.config import Kind, MediaConfig, Modality, ThinkerConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import MediaError
from omnimer_ray.media.load import ClipMedia, load_media
from omnimer_ray.tasks.instructions import Style, conversation, modalities

END_OF_TURN = "<|im_end|>"
IGNORED = -100  # label of positions that are not supervised


class Encoded(NamedTuple):
    """One item as tensors, unpadded."""

    input_ids: torch.Tensor  # (L,) long: prompt, then answer and <|im_end|> if there is an answer
    answer_start: int  # L if there is no answer
    pixels: torch.Tensor | None  # (P, 1176) float32, or the tower's outputs
    grid: torch.Tensor | None  # (3,) long: time, height, width in patches
    seconds_per_grid: float  # between two temporal patches
    mel: torch.Tensor | None  # (128, M) float32
    num_audio_tokens: int = 0


class MediaTensors(NamedTuple):
    """A clip's media as tensors, shared by all instructions of the clip."""

    pixels: torch.Tensor
    grid: torch.Tensor
    seconds_per_grid: float
    mel: torch.Tensor
    num_video_tokens: int
    num_audio_tokens: int

    @property
    def num_bytes(self) -> int:
        """Size in memory."""
        return self.pixels.nbytes + self.mel.nbytes


class MediaEncoder:
    """Media of clips as tensors; those of recent clips stay in memory, up to `memory_bytes`."""

    def __init__(self, processor: Any, media: MediaConfig, cache: Path, memory_bytes: int = 1 << 30) -> None:
        self.processor, self.media, self.cache, self.memory_bytes = processor, media, cache, memory_bytes
        self.tokenizer = processor.tokenizer
        self._recent: OrderedDict[tuple[str, Path | None, Path | None], MediaTensors] = OrderedDict()
        self._read_outputs: Callable[[Clip, int], torch.Tensor] | None = None

    def use_outputs(self, read: Callable[[Clip, int], torch.Tensor]) -> None:
        """From now on give the vision tower's kept outputs instead of pixels; `read` returns those of a clip with so many video tokens."""
        self._read_outputs = read
        self._recent.clear()

    @property
    def reads_outputs(self) -> bool:
        """Whether it gives the vision tower's kept outputs."""
        return self._read_outputs is not None

    def media_tensors(self, clip: Clip) -> MediaTensors:
        """Return the clip's media as tensors, from memory if cached there."""
        key = (clip.id, clip.video_path, clip.audio_path)  # two corpora may have clips of one name
        if key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]
        tensors = self._tensors(clip, load_media(clip, self.media, self.cache))
        self._recent[key] = tensors
        while len(self._recent) > 1 and sum(other.num_bytes for other in self._recent.values()) > self.memory_bytes:
            self._recent.popitem(last=False)
        return tensors

    def _tensors(self, clip: Clip, media: ClipMedia) -> MediaTensors:
        pixels, grid = self._processed(clip, media) if self._read_outputs is None else self._kept(self._read_outputs, clip, media)
        seconds = self.processor.video_processor.temporal_patch_size / media.sampled_fps
        return MediaTensors(pixels, grid, seconds, torch.from_numpy(media.mel), media.num_video_tokens, media.num_audio_tokens)

    def _processed(self, clip: Clip, media: ClipMedia) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels and grid of a clip's frames."""
        frames = torch.from_numpy(media.frames).permute(0, 3, 1, 2)  # (T, 3, H, W)
        # The frames already have their final size: resizing again would triple the number of tokens of small frames.
        out = self.processor.video_processor(
            videos=[frames], do_resize=False, do_sample_frames=False, cap_pixels_per_frame=True, return_tensors="pt"
        )
        grid = out["video_grid_thw"][0]
        num_video_tokens = int(grid.prod()) // self.processor.video_processor.merge_size**2
        if num_video_tokens != media.num_video_tokens:
            raise MediaError(
                f"{clip.id}: the base's processor makes {num_video_tokens} video tokens of frames {tuple(frames.shape)} where the formula gives "
                f"{media.num_video_tokens}; its preprocessor_config.json is not Qwen2.5-Omni's"
            )
        return out["pixel_values_videos"], grid

    def _kept(self, read: Callable[[Clip, int], torch.Tensor], clip: Clip, media: ClipMedia) -> tuple[torch.Tensor, torch.Tensor]:
        """Kept outputs and grid of a clip's frames."""
        video, (frames, height, width, _) = self.processor.video_processor, media.frames.shape
        grid = torch.tensor([frames // video.temporal_patch_size, height // video.patch_size, width // video.patch_size])
        return read(clip, media.num_video_tokens), grid


class Encoder(MediaEncoder):
    """Encode (clip, instruction) pairs as tensors."""

    def __init__(self, processor: Any, config: ThinkerConfig, cache: Path, memory_bytes: int = 1 << 30) -> None:
        super().__init__(processor, config.media, cache, memory_bytes)
        self.style = Style.of(config)

    def encode(
        self, clip: Clip, kind: Kind, answer: str | None = None, given: str | None = None, seen: Sequence[Modality] | None = None
    ) -> Encoded:
        """Encode one item; `answer` is supervised, `given` is the gold sentiment in the prompt of a repeated request.

        `seen`: the modalities that a main task is shown of this clip, if not all those of its style.
        """
        style = self.style if seen is None else self.style._replace(modalities=tuple(seen))
        needed = set(modalities(kind, style)) - {"text"}
        tensors = self.media_tensors(clip) if needed else None
        video, audio = (tensors if "video" in needed else None), (tensors if "audio" in needed else None)
        text = self.processor.apply_chat_template(conversation(clip, kind, style, given), tokenize=False, add_generation_prompt=True)
        text = _repeat(text, self.processor.video_token, video.num_video_tokens if video else 0)
        text = _repeat(text, self.processor.audio_token, audio.num_audio_tokens if audio else 0)
        prompt = self._tokens(text)
        ids = prompt if answer is None else prompt + self.answer_tokens(answer)
        return Encoded(
            torch.tensor(ids),
            len(prompt),
            video.pixels if video else None,
            video.grid if video else None,
            video.seconds_per_grid if video else 0.0,
            audio.mel if audio else None,
            audio.num_audio_tokens if audio else 0,
        )

    def num_answer_tokens(self, answer: str) -> int:
        """Number of supervised tokens of an answer, <|im_end|> included."""
        return len(self.answer_tokens(answer))

    def answer_tokens(self, answer: str) -> list[int]:
        """Supervised tokens of an answer, <|im_end|> included; control tokens that a base wrote out in an explanation are plain text."""
        return [*self._tokens(answer, plain=True), *self._tokens(END_OF_TURN)]

    def _tokens(self, text: str, plain: bool = False) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=plain)["input_ids"]
        return ids


def collate(items: Sequence[Encoded], pad_token: int, side: str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Batch items of one kind into model inputs. `side` is the padding side: 'right' for training, 'left' for generation.

    Padding on the right has no mask: no token sees a later one, and without a mask attention skips what is ahead and repeats no keys.
    input_ids, attention_mask (B, L); pixel_values_videos (sum P, 1176), or kept outputs (sum P / 4, D); video_grid_thw (B, 3); video_second_per_grid (B,);
    input_features (B, 128, M); feature_attention_mask (B, M).
    """
    length = max(len(item.input_ids) for item in items)

    def padded(values: torch.Tensor, fill: int) -> torch.Tensor:
        missing = length - len(values)
        return F.pad(values, (0, missing) if side == "right" else (missing, 0), value=fill)

    batch: dict[str, Any] = {
        "input_ids": torch.stack([padded(item.input_ids, pad_token) for item in items]),
        "attention_mask": torch.stack([padded(torch.ones_like(item.input_ids), int(side == "right")) for item in items]),
    }
    if items[0].pixels is not None:
        batch["pixel_values_videos"] = torch.cat([item.pixels for item in items if item.pixels is not None])
        batch["video_grid_thw"] = torch.stack([item.grid for item in items if item.grid is not None])
        batch["video_second_per_grid"] = torch.tensor([item.seconds_per_grid for item in items])
    if items[0].mel is not None:
        frames = max(item.mel.shape[1] for item in items if item.mel is not None)
        batch["input_features"] = torch.stack([F.pad(item.mel, (0, frames - item.mel.shape[1])) for item in items if item.mel is not None])
        batch["feature_attention_mask"] = torch.stack(
            [(torch.arange(frames) < item.mel.shape[1]).long() for item in items if item.mel is not None]
        )
    return {name: value.to(device) for name, value in batch.items()}


def labels(items: Sequence[Encoded]) -> torch.Tensor:
    """Return labels (B, L) long, right-padded: the token at each answer position, IGNORED elsewhere (not shifted)."""
    length = max(len(item.input_ids) for item in items)
    rows = []
    for item in items:
        row = item.input_ids.clone()
        row[: item.answer_start] = IGNORED
        rows.append(F.pad(row, (0, length - len(row)), value=IGNORED))
    return torch.stack(rows)


def _repeat(text: str, token: str, count: int) -> str:
    """Repeat a media token, because the template writes it once and the model needs one token per embedding."""
    assert text.count(token) == (count > 0), f"{text.count(token)} of {token} in a prompt that needs {count}"
    return text.replace(token, token * count) if count else text
