"""Our sweep without Ray, in this process; and the same less one of the things that it spares."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from benchmarks.naive import FullLogits, OnTheFly, masked
from omnimer_ray.execution.handout import write_manifest
from omnimer_ray.model.inputs import collate
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import LedgerUnit, RunUnit, StageUnit, Unit


class Lever(NamedTuple):
    """What is changed for a sweep that does without one thing."""

    patches: tuple[tuple[str, Any], ...] = ()
    profile: tuple[tuple[str, Any], ...] = ()
    keeps_outputs: bool = True
    shares_stages: bool = True


def answers_by_decoding(make: Callable[..., Any]) -> Callable[..., Any]:
    """Main answers are generated token by token, instead of scored as a closed set first."""

    def answerer(thinker: Any, encoder: Any, task: Any, settings: Any, unfixed: Any = ()) -> Any:
        return make(thinker, encoder, task, settings.model_copy(update={"scoring": "generate"}), unfixed)

    return answerer


def with_mask(items: Any, pad_token: int, side: str, device: Any = "cpu") -> dict[str, Any]:
    """A micro-batch whose padding is masked."""
    return masked(collate(items, pad_token, side, device), items)


def levers() -> dict[str, Lever]:
    """Name -> lever; the first is our sweep as it is, the last our sweep again."""
    from omnimer_ray.training.evaluation import answerer

    generated = (("omnimer_ray.training.evaluation.answerer", answers_by_decoding(answerer)),)
    return {
        "ours": Lever(),
        "vision tower at every step": Lever(keeps_outputs=False),
        "media decoded for every item": Lever((("omnimer_ray.model.inputs.Encoder", OnTheFly),)),
        "logits of all positions": Lever((("omnimer_ray.training.loop.AnswerLoss", FullLogits),)),
        "a mask over padding": Lever((("omnimer_ray.training.feed.collate", with_mask),)),
        "every layer recomputed": Lever(profile=(("recompute", "always"),)),
        "one answer at a time": Lever(profile=(("evaluation_batch", 1),)),
        "main answers generated": Lever(generated),
        "no stage shared": Lever(shares_stages=False),
        "ours again": Lever(),
    }


def run_here(sweep: Sweep, place: Path, lever: Lever) -> float:
    """Do the units of a sweep, one after the other; returns the seconds of this process."""
    from omnimer_ray.execution.driver import make_job
    from omnimer_ray.execution.worker import ThinkerWorker
    from omnimer_ray.training.loop import init_single_process_group

    init_single_process_group()
    job = make_job(sweep._replace(ledgers=place / "ledgers", keeps_outputs=lever.keeps_outputs), place / "results", sweep.corpus.clips)
    job = replace(job, cache=place / "cache", profile=job.profile.model_copy(update=dict(lever.profile)))
    began = time.process_time()
    with ExitStack() as stack:
        for target, replacement in lever.patches:
            stack.enter_context(patch(target, replacement))
        for folder, unit in _units(sweep, job.folder, lever.shares_stages):
            ThinkerWorker(replace(job, folder=folder), unit, 0, 1, (), time.time()).execute()
    return time.process_time() - began


def _units(sweep: Sweep, folder: Path, shares_stages: bool) -> Iterator[tuple[Path, Unit]]:
    """Units with the folder of their results: that of the sweep, or each run's own."""
    for unit in sweep.plan.units:
        if shares_stages or isinstance(unit, LedgerUnit):
            yield folder, unit
    if not shares_stages:
        for signature, run in sweep.plan.runs.items():
            own = folder.parent / signature
            write_manifest(own / ".sweep" / "manifest.json", sweep.corpus.clips)
            for stage in run.stages[:-1]:
                yield own, StageUnit(stage, "")
            yield own, RunUnit(run, "")
