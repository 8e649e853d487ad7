"""What a table can find, and how well its intervals and tests work, as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from analysis.calibration import FULL, POWER, Design, Rate, Task, power
from analysis.intervals import MEASURES, MIN_VIDEOS
from analysis.nulls import GROUP, NullRate
from analysis.shapes import CorpusShape
from omnimer_ray.corpora.clips import LABELS


def power_lines(
    shape: CorpusShape, num_seeds: int, num_folds: int | None, progress: Callable[[str], None], classes: bool = False
) -> Iterator[str]:
    """A line for each task; with `classes` the F1 of each supported class too."""
    for name in shape.tasks:
        task, design = shape.cell(name, num_seeds, num_folds)
        if design.num_videos < 2:
            yield f"{name}, {design.text}: nothing can be found, one video is no sample."
            continue
        found = power(task, design, progress)
        parts, measures = [], list[str | int](task.scores) + list(task.supported if classes else ())
        for score in measures:
            heading = MEASURES[score] if isinstance(score, str) else f"F1 of {LABELS[name][score]}"
            sizes = [
                f"{'more than was simulated' if (points := found[score, question]) is None else f'{points:.1f} points'} for {meaning}"
                for question, meaning in (("models", "these models"), ("recipe", "the recipe"))
                if (score, question) in found
            ]
            parts.append(f"{heading} {' and '.join(sizes)}")
        without = "" if task.supported else f"; no class is on {MIN_VIDEOS} source videos"
        yield f"{name}, {design.text}: one contrast finds with {POWER:.0%} power (simulated, not corrected) {'; '.join(parts)}{without}."


def rate_lines(task: Task, design: Design, rates: Sequence[Rate]) -> Iterator[str]:
    """A table of a design's rates."""
    yield f"{task.name}, {design.text}: {max(rate.tables for rate in rates)} tables without any effect"
    width = max(len(rate.quantity) for rate in rates)
    for rate in rates:
        heading = MEASURES.get(rate.score, "macro F1 of all classes" if rate.score == FULL else rate.score)
        yield f"  {heading:24}  {rate.quantity:{width}}  {100 * rate.share:5.1f} % ± {100 * rate.error:.1f}  ({rate.tables} tables)"


def null_lines(rates: Sequence[NullRate]) -> Iterator[str]:
    """A line for each rate of a real null."""
    yield f"{rates[0].splits} splits of {rates[0].seeds} seeds, {GROUP} against {GROUP}, on the same clips: a difference is found in"
    for rate in rates:
        question = {"models": "these models (swap test)", "recipe": "the recipe (t test)"}[rate.question]
        yield f"  {rate.task:9}  {MEASURES[rate.score]:22}  {question:24}  {100 * rate.share:5.1f} % ± {100 * rate.error:.1f}"
