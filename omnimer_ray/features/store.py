"""Features of clips, computed once and kept beside the results for all runs, folds, seeds and sweeps.

`features/<key>/<content>.safetensors` holds what an encoder makes of one view of a clip, (T, D), and `features/<key>/feature.json` says what it
is. The key names encoder, view and media settings; the content is that of the view. Who makes an entry holds its lock, so that it is made once.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnimer_ray.config import content_hash
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import MachineError, MediaError
from omnimer_ray.feature_config import Feature
from omnimer_ray.media.cache import keep, kept
from omnimer_ray.media.load import frames_hash, sound_hash
from omnimer_ray.records import write_json

FEATURES = "features"  # folder of all features of some results


class FeatureStore:
    """The kept entries of one feature."""

    def __init__(self, features: Path, feature: Feature, cache: Path) -> None:
        """`features`: parent folder; `cache`: of media."""
        self.feature, self.folder, self.cache = feature, features / feature.key, cache

    def place(self, clip: Clip) -> Path:
        """File of a clip's entry."""
        return self.folder / f"{self.content(clip)}.safetensors"

    def missing(self, clips: Sequence[Clip]) -> list[Clip]:
        """The clips without an entry."""
        return [clip for clip in clips if not self.place(clip).exists()] if self.folder.exists() else list(clips)

    def array(self, clip: Clip, num_steps: int | None = None) -> NDArray[Any]:
        """Return a clip's entry, (T, D) as it was kept: bf16 is uint16. Raises MachineError if it is absent, damaged or of another length; a bad one is deleted."""
        entry = kept(self.place(clip))
        if entry is None or (num_steps is not None and len(entry.arrays["outputs"]) != num_steps):
            self.place(clip).unlink(missing_ok=True)
            raise MachineError(f"{clip.id}: {self.place(clip)} is absent or damaged; the same command makes it again")
        return entry.arrays["outputs"]

    def read(self, clip: Clip) -> NDArray[np.float32]:
        """Return a clip's entry as float32, (T, D)."""
        array = self.array(clip)
        return (array.astype(np.uint32) << 16).view(np.float32) if array.dtype == np.uint16 else array.astype(np.float32, copy=False)

    def fill(self, clips: Sequence[Clip], make: Callable[[Clip], NDArray[Any]], report: Callable[[int, int], None]) -> None:
        """Make the entries that are missing; those that another process is making are waited for at the end.

        Raises MediaError for an entry that is not finite, before it is written.
        """
        for wait in (False, True):
            missing = self.missing(clips)
            for number, clip in enumerate(missing, 1):
                with locked(self.place(clip), wait) as mine:
                    if mine and not self.place(clip).exists():
                        self._keep(clip, make(clip))
                report(number, len(missing))
        write_json(self.folder / "feature.json", self.feature.model_dump())

    def _keep(self, clip: Clip, array: NDArray[Any]) -> None:
        if array.ndim != 2 or not array.size or not (array.dtype == np.uint16 or np.isfinite(array).all()):
            raise MediaError(
                f"{clip.id}: what {self.feature.encoder.name} makes of its {self.feature.view} has shape {array.shape}, or is not finite; "
                "look at the clip, or list it under 'exclude'"
            )
        keep(self.place(clip), {"outputs": array}, {})

    def content(self, clip: Clip) -> str:
        """Hash of what the view of a clip is made from."""
        media = self.feature.media
        if self.feature.is_given:  # the key says which files
            return content_hash({"clip": clip.id})
        if media is None:
            return content_hash({"text": clip.text})
        if self.feature.view == "described_text":
            return content_hash(
                {"text": clip.text, "frames": frames_hash(clip, self.cache), "sound": sound_hash(clip, media.audio_source, self.cache)}
            )
        return frames_hash(clip, self.cache) if self.feature.view == "frames" else sound_hash(clip, media.audio_source, self.cache)


@contextmanager
def locked(place: Path, wait: bool) -> Iterator[bool]:
    """Hold the lock of a file that is made once; it ends with the process. Yields whether it is held, always with `wait`."""
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
