"""The shape of a corpus for simulations: labels by source video, from a results folder or a clips.csv."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl

from analysis.calibration import Design, Task
from analysis.intervals import MIN_VIDEOS
from analysis.planned import read_plan
from analysis.simulation import Shape
from omnimer_ray.corpora.clips import LABELS, TASKS
from omnimer_ray.errors import ResultsError


class CorpusShape(NamedTuple):
    """Clips with labels, and which of their parts is reported."""

    clips: pl.DataFrame  # split, source_video, and a column of each task that the corpus has
    reported: str

    def cell(self, task: str, num_seeds: int, num_folds: int | None) -> tuple[Task, Design]:
        """What is simulated for a task's table."""
        labelled = self.clips.filter(pl.col(task).is_not_null())
        pooled = ("train", "validation", self.reported)
        scored = labelled.filter(pl.col("split").is_in(pooled) if num_folds else pl.col("split") == self.reported)
        shape = Shape(labelled[task].to_list(), labelled["source_video"].to_list(), LABELS[task])
        videos = {label: scored.filter(pl.col(task) == label)["source_video"].n_unique() for label in LABELS[task]}
        supported = tuple(place for place, label in enumerate(LABELS[task]) if videos[label] >= MIN_VIDEOS)
        return Task(task, shape, supported), Design(scored["source_video"].n_unique(), num_seeds, num_folds or 1)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks with labels in the reported part."""
        scored = self.clips.filter(pl.col("split") == self.reported)
        return tuple(task for task in TASKS if task in scored.columns and scored[task].is_not_null().any())


def read_shape(path: Path) -> CorpusShape:
    """Read a results folder, or a CSV as `python -m omnimer_ray.corpora export` writes it. Raises ResultsError with what is missing."""
    if path.is_dir():
        plan = read_plan(path)
        clips, reported = pl.read_parquet(path / "clips.parquet"), str(plan.corpus.reported)
        clips = clips.filter(pl.col("corpus").fill_null(plan.corpus.name) == plan.corpus.name) if "corpus" in clips.columns else clips
    else:
        try:
            clips = pl.read_csv(path, infer_schema=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise ResultsError(
                f"{path} cannot be read as a CSV ({error}); give a results folder, or the file of `corpora export`"
            ) from None
        if missing := sorted({"split", "source_video"} - set(clips.columns)):
            raise ResultsError(f"{path} has no column {missing[0]!r}; give a results folder, or the file of `corpora export`")
        clips = clips.filter(pl.col("split").is_in(["train", "validation", "test"]))
        reported = "test" if (clips["split"] == "test").any() else "validation"
    found = CorpusShape(clips, reported)
    if not found.tasks:
        raise ResultsError(f"{path} has no {reported} clips with sentiment or emotion labels")
    for task in found.tasks:
        if unknown := sorted(set(clips[task].drop_nulls()) - set(LABELS[task])):
            raise ResultsError(f"{path}: {unknown[0]!r} is no {task} label; known: {', '.join(LABELS[task])}")
    return found
