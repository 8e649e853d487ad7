"""Outputs of the frozen vision tower, computed once and kept beside the results for all runs, epochs, seeds and sweeps.

`features/<key>/<clip>.safetensors` holds what the tower makes of a clip's frames, (T, D): T video tokens, D the language model's width. The key
names base, precision and media settings, the clip its frames' content. Who makes an entry holds its lock, so that it is made once.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from omnimer_ray.config import ThinkerConfig, content_hash
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import MachineError
from omnimer_ray.media.cache import keep, kept
from omnimer_ray.media.load import frames_hash
from omnimer_ray.records import write_json

if TYPE_CHECKING:
    from omnimer_ray.model.inputs import Encoder
    from omnimer_ray.model.thinker import Thinker


class VisionOutputs:
    """The kept outputs of one base's vision tower under one config's media settings."""

    def __init__(self, features: Path, config: ThinkerConfig, cache: Path) -> None:
        """`features`: parent folder; `cache`: of media."""
        tower = {"name": "tower", "tower": "vision", "revision": config.base.revision, "precision": config.base.precision}
        self.about = {"encoder": tower, "view": "frames", "media": config.media.model_dump()}
        self.folder, self.cache = features / content_hash(self.about), cache

    def place(self, clip: Clip) -> Path:
        """File of a clip's entry."""
        return self.folder / f"{frames_hash(clip, self.cache)}.safetensors"

    def read(self, clip: Clip, num_tokens: int) -> torch.Tensor:
        """Return a clip's entry, (T, D) in the base's precision. Raises MachineError if it is absent or damaged; a damaged one is deleted."""
        entry = kept(self.place(clip))
        if entry is None or len(entry.arrays["outputs"]) != num_tokens:
            self.place(clip).unlink(missing_ok=True)
            raise MachineError(f"{clip.id}: {self.place(clip)} is absent or damaged; the same command makes it again")
        outputs = torch.from_numpy(entry.arrays["outputs"])
        return outputs.view(torch.bfloat16) if outputs.dtype == torch.uint16 else outputs

    def fill(self, thinker: Thinker, encoder: Encoder, clips: Sequence[Clip], report: Callable[[int, int], None]) -> None:
        """Make the entries that are missing; those that another process is making are waited for at the end."""
        for wait in (False, True):
            missing = [clip for clip in clips if not self.place(clip).exists()]
            for number, clip in enumerate(missing, 1):
                with _locked(self.place(clip), wait) as mine:
                    if mine and not self.place(clip).exists():
                        self._make(thinker, encoder, clip)
                report(number, len(missing))

    def _make(self, thinker: Thinker, encoder: Encoder, clip: Clip) -> None:
        tower, media = thinker.model.model.visual, encoder.media_tensors(clip)
        with torch.no_grad():
            pixels = media.pixels.to(tower.device, tower.dtype)
            outputs = tower(pixels, grid_thw=media.grid[None].to(tower.device)).pooler_output.cpu()
        raw = outputs.view(torch.uint16) if outputs.dtype == torch.bfloat16 else outputs  # numpy has no bfloat16
        keep(self.place(clip), {"outputs": raw.numpy()}, {})


def use(outputs: VisionOutputs, thinker: Thinker, encoder: Encoder) -> None:
    """Let the encoder read kept outputs, and remove the tower from the model."""
    write_json(outputs.folder / "feature.json", outputs.about)
    encoder.use_outputs(outputs.read)
    remove_tower(thinker)


def remove_tower(thinker: Thinker) -> None:
    """The model then takes the tower's outputs in place of pixels."""
    tower = thinker.model.model.visual
    thinker.model.model.visual = _Given(tower.dtype, tower.spatial_merge_size)


class _Given(torch.nn.Module):
    """Stands where the tower was, and returns what it is given."""

    def __init__(self, dtype: torch.dtype, spatial_merge_size: int) -> None:
        super().__init__()
        self.dtype, self.spatial_merge_size = dtype, spatial_merge_size

    def forward(self, outputs: torch.Tensor, grid_thw: torch.Tensor, **named: Any) -> BaseModelOutputWithPooling:
        """`outputs`: (sum T, D)."""
        return BaseModelOutputWithPooling(pooler_output=outputs)


@contextmanager
def _locked(place: Path, wait: bool) -> Iterator[bool]:
    """Hold an entry's lock, which ends with the process; yields whether it is held, always with `wait`."""
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = place.with_suffix(".lock")
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass  # a file system without locks: two processes may make the same entry
        yield True
        lock.unlink(missing_ok=True)  # the entry is there: who gets a lock of this file later makes nothing
