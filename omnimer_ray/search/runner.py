"""Run the trials of a search: first the units of the ledger, then the trials that the study draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from rich.console import Console

from omnimer_ray.corpora.select import choosing_clips, development_splits
from omnimer_ray.execution.driver import make_job, run_with_ray
from omnimer_ray.execution.lease import Leases
from omnimer_ray.execution.progress import Progress, console_logger
from omnimer_ray.execution.searcher import PlanSearcher, Watcher
from omnimer_ray.outputs.tensorboard import write_events
from omnimer_ray.planning.description import counted
from omnimer_ray.planning.extents import Extent, extent
from omnimer_ray.planning.pruning import Pruning
from omnimer_ray.planning.search_space import TRIALS, best, is_over, ledger_units, named, read_trials, trial_plan, units_of
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import PartUnit, RunUnit, Unit, recorded_outcome
from omnimer_ray.search.study import Asked, Study

DONE, FAILED, INTERRUPTED = 0, 4, 130


class StudySearcher(PlanSearcher):
    """Hands out units; when none is ready it takes another trial from the study, until `num_trials` are drawn."""

    driver = ("stopped", "watcher", "study", "expect")

    def __init__(
        self,
        study: Study,
        ledgers: Iterable[Unit],
        done: Iterable[str],
        stopped: Callable[[], bool],
        watcher: Watcher,
        expect: Callable[[Unit], None] = lambda unit: None,
    ) -> None:
        ledgers, done = list(ledgers), set(done)
        super().__init__([unit for unit in ledgers if unit.id not in done], done, stopped, watcher)
        self.study, self.expect = study, expect
        self.ledgers = {unit.id for unit in ledgers}
        study.settle()
        for asked in study.open:
            self._add(asked)

    def may_grow(self) -> bool:
        """Whether the study may be asked for another trial."""
        return self.ledgers <= self.done and self.study.num_asked < self.study.search.num_trials

    def grow(self) -> None:
        """Add the units of the study's next trial; a run that is recorded already is reported to the study and not started."""
        asked = self.study.ask()
        if asked not in self.study.settle():
            self._add(asked)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Report recorded runs to the study; a failed trial is not a failed sweep."""
        super().on_trial_complete(trial_id, result, error)
        over = {name for asked in self.study.settle() for name in _ids(asked)}
        self.failed = {name: reason for name, reason in self.failed.items() if name not in over}
        self.pending = [unit for unit in self.pending if unit.id not in over]

    def _add(self, asked: Asked) -> None:
        """Add a trial's stages and run, except those that are recorded, pending or running."""
        known = {unit.id for unit in (*self.pending, *self.running.values())}
        for unit in units_of(f"trial {asked.number}: {named(asked.params)}", asked.run):
            if isinstance(unit, PartUnit) or unit.id in known:
                continue
            if recorded_outcome(unit, self.study.folder) is not None:
                self.done.add(unit.id)
                continue
            self.pending.append(unit)
            self.expect(unit)


def _ids(asked: Asked) -> tuple[str, ...]:
    return (f"run-{asked.run.signature}", *(f"stage-{stage.key}" for stage in asked.run.stages))


def run_trials(sweep: Sweep, console: Console) -> int:
    """Run until all trials have ended. Returns DONE, or FAILED or INTERRUPTED: then the same command resumes."""
    search, log = sweep.search, console_logger(console)
    assert search is not None
    training = choosing_clips(sweep.corpus.clips, search.development)
    job = make_job(sweep, sweep.folder / "trials", training, Pruning(search.rungs, search.reduction))
    study = Study(search, job.folder, sweep.folder / TRIALS)
    study.settle()
    failed, stopped = list[str](), False
    if not is_over(search, study.trials()):
        ledgers = ledger_units(search)
        with Leases(sweep.unfinished_ledgers(ledgers), log):
            done = [unit.id for unit in ledgers if sweep.outcome(unit) == "done"]
            expected = Expected(sweep, ledgers, study)
            progress = Progress(console, job.folder, expected.extents, done, partial(_after_unit, sweep._replace(folder=job.folder)))
            searcher = StudySearcher(study, ledgers, done, job.stop_file.exists, progress, expected.add)
            ended = run_with_ray(job, searcher, progress, log)
        failed, stopped = [f"{expected.titles[name]}: {reason}" for name, reason in ended.failed.items()], ended.stopped
    for line in failed:
        log(f"failed: {line}")
    log(f"{counted(search, study.trials())}; study: {sweep.folder / 'trials' / 'study.journal'}")
    if is_over(search, study.trials()):
        return DONE
    log(f"what was finished is kept. Resume with:  {sweep.request.command}")
    return INTERRUPTED if stopped else FAILED


def _after_unit(sweep: Sweep, unit: Unit) -> None:
    """Freeze a finished ledger, or write the curves of a trial."""
    sweep.freeze([unit])
    write_events(sweep, unit)


class Expected:
    """Expected work, for the time left. A trial that is not drawn yet is estimated as one without auxiliaries."""

    def __init__(self, sweep: Sweep, ledgers: Iterable[Unit], study: Study) -> None:
        assert sweep.search is not None
        clips = development_splits(sweep.corpus.clips, sweep.search.development)
        self.sides = sum(clip.split == "train" for clip in clips), sum(clip.split == "development" for clip in clips)
        self.titles = {unit.id: unit.title for unit in ledgers}
        self.extents: dict[str, Extent] = {unit.id: extent(unit, len(clips), 0) for unit in ledgers}
        typical = next(unit for unit in trial_plan(sweep.search).units if isinstance(unit, RunUnit))
        self.open = {asked.run.signature for asked in study.open}  # of an earlier start: they have no estimate in `waiting`
        self.waiting = [f"trial {number}" for number in range(study.num_asked, sweep.search.num_trials)]
        self.extents |= dict.fromkeys(self.waiting, extent(typical, *self.sides))

    def add(self, unit: Unit) -> None:
        """Add a unit of a drawn trial; its run replaces an estimate."""
        self.titles[unit.id], self.extents[unit.id] = unit.title, extent(unit, *self.sides)
        if isinstance(unit, RunUnit) and unit.run.signature not in self.open and self.waiting:
            del self.extents[self.waiting.pop(0)]


def closing(sweep: Sweep) -> list[str]:
    """The chosen trials, and how often validation was opened."""
    search, opened = sweep.search, len(list((sweep.folder / "runs").glob("*/predictions.parquet")))
    assert search is not None
    chosen = [
        f"chosen on development: trial {trial.number}, macro F1 {trial.development_f1:.3f}: {named(trial.params)}"
        for trial in best(search, read_trials(sweep.folder))
    ]
    return [*chosen, f"{sweep.corpus.reported} was opened once for each of {opened} confirmed runs, and by no trial"]
