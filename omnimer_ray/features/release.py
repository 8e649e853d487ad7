"""The authors' released features: a pickle of arrays -> a folder that `Files` reads. No such pickle was seen; its form is assumed [A]."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnimer_ray.corpora.clips import listed
from omnimer_ray.errors import ConfigError
from omnimer_ray.features.given import write

WIDTHS = {
    18: "GeMAPS low-level descriptors of the audio",
    673: "OpenFace of the video",
    768: "IndoBERT of the text",
}  # of IndoMER's release
OPENFACE = 673  # 669 features, and columns that are none
EVEN = 1e-3  # largest change of a step, to the mean step, of a column that rises evenly

Array = NDArray[np.float32]


def import_release(pickle: Path, out: Path) -> list[str]:
    """Convert a pickle; returns lines about what was written. Raises ConfigError before anything is written."""
    if not pickle.is_file():
        raise ConfigError(f"{pickle} is no file")
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty; give a new folder")
    arrays = _read(pickle)
    if doubled := [name for name, count in Counter(name for name, _ in arrays).items() if count > 1]:
        raise ConfigError(f"{pickle} holds clips twice: {listed(doubled)}")
    widths = Counter(array.shape[1] for _, array in arrays)
    if len(widths) != 1:
        raise ConfigError(
            f"{pickle} holds arrays of different widths: {', '.join(map(str, sorted(widths)))}; a file of one modality is needed"
        )
    (width,) = widths
    about = [f"{len(arrays)} clips of {width} values a step: {WIDTHS.get(width, 'of an unknown kind')}"]
    if width == OPENFACE:
        dropped = not_features([array for _, array in arrays])
        about.append(
            f"left out {len(dropped)} columns that are constant or rise evenly, such as frame numbers and times: {', '.join(map(str, dropped)) or 'none'}"
        )
        arrays = [(name, np.delete(array, dropped, axis=1)) for name, array in arrays]
    for name, array in arrays:
        write(out, name, array)
    return [*about, f"written to {out}; in a search space: Feature(encoder=Files(folder={str(out)!r}), view=...)"]


def not_features(arrays: Sequence[Array]) -> list[int]:
    """Columns that hold one value everywhere, or that rise evenly in every clip: a frame's number or time tells the clip's length."""
    steps = np.concatenate(arrays)
    constant = steps.max(0) == steps.min(0)
    long = [np.diff(array.astype(np.float64), axis=0) for array in arrays if len(array) > 2]
    rising = np.ones(steps.shape[1], bool)
    for change in long:
        mean = change.mean(0)
        rising &= (mean > 0) & (np.abs(change - mean).max(0) <= EVEN * np.abs(mean))
    return np.flatnonzero(constant | (rising if long else np.zeros_like(rising))).tolist()


def _read(pickle: Path) -> list[tuple[str, Array]]:
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "omnimer_ray.features.unpickle", str(pickle.resolve()), folder]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
            raise ConfigError(f"{pickle} cannot be converted: {reason}")
        names = json.loads((Path(folder) / "index.json").read_text(encoding="utf-8"))
        return [(name, np.load(Path(folder) / f"{number}.npy", allow_pickle=False)) for number, name in enumerate(names)]
