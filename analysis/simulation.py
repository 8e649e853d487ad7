"""Simulated score tables at a corpus's shape: what `calibrate` and `power` repeat.

Videos are drawn with replacement from the corpus's own, with their clips and labels. A model's answer to a clip is the class of the highest utility:
a lean towards each class (by the logarithm of its frequency), a gain for the right class that a video and a clip share among all models, and noise
of the model, most of which its seeds share. Rows differ by an effect on the gain, seeds by one on gain and leanings. The sizes below give accuracies
of .70 to .75, emotion macro F1 of .25 to .4 and seeds that agree on 80 to 88 % of clips at IndoMER's shape.
Legend: n clips, R rows, S seeds, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sizes:
    """Standard deviations of the effects, in units of a utility."""

    gain: float = 1.35  # for the right class, on average
    lean: float = 0.75  # of the logarithm of a class's frequency
    video: float = 0.5  # on the gain, shared by all models
    video_row: float = 0.25  # on the gain, of a row and a video
    clip: float = 0.8  # on the gain, shared by all models
    shared: float = 0.9  # noise of a clip and class that all models share
    row: float = 0.4  # noise of a clip and class of a row, which its seeds share
    single: float = 0.4  # noise of a clip and class of one trained model
    seed_gain: float = 0.12  # of a trained model
    seed_lean: float = 0.12  # of a trained model and class


SIZES = Sizes()


class Shape:
    """A corpus's labels by source video."""

    def __init__(self, clips: Sequence[str], videos: Sequence[str], labels: Sequence[str]) -> None:
        """`clips` are the labels of the clips, `videos` their source videos, `labels` the classes."""
        self.num_labels = len(labels)
        place = {label: index for index, label in enumerate(labels)}
        codes = np.array([place[label] for label in clips])
        names = np.array(videos)
        self.videos = [codes[names == name] for name in sorted(set(videos))]
        frequency = np.bincount(codes, minlength=self.num_labels) / len(codes)
        self.lean = np.log(frequency + 0.5 / len(codes))

    def draw(self, rng: np.random.Generator, num_videos: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Labels (n,) and video numbers (n,) of videos drawn with replacement."""
        drawn = [self.videos[number] for number in rng.integers(0, len(self.videos), num_videos)]
        return np.concatenate(drawn), np.repeat(np.arange(num_videos), [len(video) for video in drawn])


def draw_seed_effects(rng: np.random.Generator, num_rows: int, num_seeds: int, num_labels: int, num_folds: int = 1) -> NDArray[Any]:
    """(R, S, F, 1 + L): effects of each trained model on gain and leanings."""
    lead = (num_rows, num_seeds, num_folds)
    return np.concatenate([rng.normal(0, SIZES.seed_gain, (*lead, 1)), rng.normal(0, SIZES.seed_lean, (*lead, num_labels))], -1)


def answers(
    rng: np.random.Generator,
    shape: Shape,
    labels: NDArray[Any],
    videos: NDArray[Any],
    effects: Sequence[float],
    seed_effects: NDArray[Any],
) -> Any:
    """(R, S, n): the answers of R rows, whose gains differ by `effects`, to clips with these `labels` of the numbered `videos`.

    `seed_effects` as from `draw_seed_effects`; the fold of a video is its number modulo their number of folds.
    """
    num_rows, num_seeds, num_folds = seed_effects.shape[:3]
    num_clips, num_videos, num_labels = len(labels), int(videos.max()) + 1, shape.num_labels
    trained = seed_effects[:, :, videos % num_folds]  # (R, S, n, 1 + L)
    gain = SIZES.gain + rng.normal(0, SIZES.video, num_videos)[videos] + rng.normal(0, SIZES.clip, num_clips)  # (n,)
    of_row = rng.normal(0, SIZES.video_row, (num_rows, num_videos))[:, videos] + np.asarray(effects)[:, None]  # (R, n)
    utility = SIZES.lean * shape.lean + rng.normal(0, SIZES.shared, (num_clips, num_labels))  # (n, L)
    utility = utility + rng.normal(0, SIZES.row, (num_rows, 1, num_clips, num_labels))
    utility = utility + rng.normal(0, SIZES.single, (num_rows, num_seeds, num_clips, num_labels)) + trained[..., 1:]
    utility[:, :, np.arange(num_clips), labels] += gain + of_row[:, None] + trained[..., 0]
    return utility.argmax(-1)


def counts_of(answered: NDArray[Any], labels: NDArray[Any], videos: NDArray[Any], num_labels: int) -> NDArray[Any]:
    """(..., n) answers -> (..., V, 3, L) counts, as `statistics.video_counts`."""
    num_videos, lead = int(videos.max()) + 1, answered.shape[:-1]
    flat = answered.reshape(-1, len(labels))
    counts = np.zeros((len(flat), num_videos, 3, num_labels))
    model = np.repeat(np.arange(len(flat)), len(labels))
    video, truth, answer = np.tile(videos, len(flat)), np.tile(labels, len(flat)), flat.ravel()
    right = answer == truth
    for part, label, chosen in ((0, truth, right), (1, answer, right | True), (2, truth, right | True)):
        np.add.at(counts[:, :, part], (model[chosen], video[chosen], label[chosen]), 1)
    return counts.reshape(*lead, num_videos, 3, num_labels)
