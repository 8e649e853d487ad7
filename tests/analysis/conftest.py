"""Fixtures with results folders: a small folder whose numbers can be checked by hand, and folders with the size of a real sweep."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from results_folders import BASE, GOLD, TEXT, VARIANTS, answers, ledger, realistic_clips, row, write_clips, write_plan, write_run

from omnimer_ray.records import ledger_schema, write_table


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Results of one task on six validation clips of three videos: Base is right in 3 (one answer unparsed), Text Aux in 5, Hybrid was not run."""
    folder = tmp_path / "ablations" / "mini-tiny"
    clips = [
        {"clip": clip, "split": "validation", "source_video": f"video{int(clip[1]) // 2}", "sentiment": gold} for clip, gold in GOLD.items()
    ]
    clips += [
        {"clip": f"t{i}", "split": "train", "source_video": f"train{i}", "sentiment": gold}
        for i, gold in enumerate(["neutral", "neutral", "positive"])
    ]
    write_clips(folder, clips)
    rows = [row("Base", "sentiment"), row("Base + Text Aux", "sentiment"), row("All Aux (Hybrid)", "sentiment")]
    write_plan(folder, ["Base", "Base + Text Aux", "All Aux (Hybrid)"], ["sentiment"], rows)
    for planned, predictions in zip(rows, (BASE, TEXT), strict=False):
        write_run(folder, planned, {clip: (GOLD[clip], predictions[clip]) for clip in GOLD})
    return folder


@pytest.fixture(scope="session")
def realistic(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Factory of results folders with the size of `ablations`: 96 validation clips of 16 videos, 14 runs per seed, a ledger and thumbnails."""

    def make(seeds: tuple[int, ...] = (0,), failed: tuple[str, ...] = (), folds: int | None = None, **corpus: Any) -> Path:
        folder = tmp_path_factory.mktemp("sweep") / "ablations" / "mini-tiny"
        clips = realistic_clips()
        write_clips(folder, clips)
        write_table(folder / "ledger.parquet", pl.DataFrame(list(ledger(clips)), schema=ledger_schema()))
        trained = [(variant, None if variant == "Zero-shot" else seed) for variant in VARIANTS for seed in seeds]
        fold_choices = [None] if folds is None else list(range(folds))
        rows = [
            row(variant, task, seed, fold)
            for task in ("sentiment", "emotion")
            for variant, seed in dict.fromkeys(trained)
            for fold in fold_choices
        ]
        write_plan(folder, VARIANTS, ["sentiment", "emotion"], rows, folds=folds, **corpus)
        for planned in rows:
            if planned["variant"] in failed:
                write_run(folder, planned, {}, outcome="diverged", reason="loss is nan at step 7")
            else:
                write_run(folder, planned, dict(answers(clips, planned, folds)))
        return folder

    return make
