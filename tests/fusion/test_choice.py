"""The epoch that counts is the best of those that were scored, whatever stops come between; patience ends a training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from omnimer_ray.fusion.choice import Choice

SCORES = {2: 0.2, 4: 0.5, 6: 0.4, 8: 0.5, 10: 0.3}  # by step: an epoch of 12 items has two steps of 6


def course(folder: Path, steps: Iterable[int], patience: int | None = None) -> tuple[Choice, list[int], list[int]]:
    """A choice after these steps, the steps that it scored, and those after which the training might end."""
    now, scored, ends = [0], list[int](), list[int]()

    def score() -> float:
        scored.append(now[0])
        return SCORES[now[0]]

    choice = Choice(folder, 12, 6, patience, score, lambda: {"step": torch.tensor([float(now[0])])})
    for step in steps:
        now[0] = step
        if choice(step):
            ends.append(step)
    return choice, scored, ends


def test_the_first_of_the_best_epochs_is_taken(tmp_path: Path) -> None:
    choice, scored, ends = course(tmp_path, range(1, 11))
    assert (scored, ends) == ([2, 4, 6, 8, 10], [])
    assert choice.best() == {"epoch": 2, "step": 4, "score": 0.5}
    assert float(choice.take()["step"]) == 4


def test_a_stage_that_is_stopped_chooses_the_same(tmp_path: Path) -> None:
    course(tmp_path, range(1, 6))
    again, _, _ = course(tmp_path, range(3, 11))  # from an earlier checkpoint
    assert again.best() == {"epoch": 2, "step": 4, "score": 0.5}


def test_patience_ends_a_training_that_gets_no_better(tmp_path: Path) -> None:
    assert course(tmp_path, range(1, 11), patience=2)[2] == [8, 9, 10]  # two epochs after the second


def test_nothing_is_best_before_an_epoch_ends(tmp_path: Path) -> None:
    choice, scored, _ = course(tmp_path, [1], patience=1)
    assert (choice.best(), scored) == (None, [])
