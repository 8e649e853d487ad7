"""From a command's arguments to tables: read the corpus, plan, check the machine, prepare media, run, analyse."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console

from omnimer_ray.config import MediaConfig, ThinkerConfig, stage_epochs
from omnimer_ray.corpora import GENERATED, default_cache
from omnimer_ray.corpora.select import fraction_of, splits_of
from omnimer_ray.doctor import quick_findings, refuse
from omnimer_ray.errors import ConfigError, MachineError, ResultsError, StorageError, SweepStoppedError
from omnimer_ray.execution.failures import ends_sweep
from omnimer_ray.execution.lease import Lease, Leases, holder
from omnimer_ray.execution.progress import Progress, console_logger, describe
from omnimer_ray.feature_config import encoder_name
from omnimer_ray.features.given import check_contents
from omnimer_ray.features.kept import kept_lines
from omnimer_ray.fusion_config import FusionConfig, Linear
from omnimer_ray.machine.profile import concurrency, local_resources
from omnimer_ray.model.bases import TINY
from omnimer_ray.outputs.analysis_inputs import write_clips, write_ledger, write_plan
from omnimer_ray.outputs.model_card import write_card
from omnimer_ray.outputs.registration import register, to_register
from omnimer_ray.outputs.tensorboard import write_events
from omnimer_ray.outputs.yields import yield_lines
from omnimer_ray.planning import description, forecast, kept_outputs
from omnimer_ray.planning.extents import extents_of
from omnimer_ray.planning.fusion_items import labelled, with_choice
from omnimer_ray.planning.plan import Plan
from omnimer_ray.planning.search_space import read_trials, trial_plan
from omnimer_ray.planning.setup import Request, Sweep, check_ledgers, prepare, read_corpus, read_others
from omnimer_ray.planning.units import Unit
from omnimer_ray.recipes import omnimer_qwen7b
from omnimer_ray.records import REGISTRATION
from omnimer_ray.training.schedule import check_split, check_steps, fitting

if TYPE_CHECKING:
    from omnimer_ray.execution.driver import Outcome

DONE, FAILED, INTERRUPTED = 0, 4, 130


def run(request: Request, dry_run: bool, console: Console | None = None) -> int:
    """Do all that the command does; returns its exit code. Bad input raises an OmniMERError before any worker starts."""
    console = console or Console()
    _check_place(request)
    log = console_logger(console)
    sweep = prepare(request, to_plan=dry_run)
    at_once = None
    try:
        at_once = None if sweep.profile.address else concurrency(sweep.profile, local_resources())
    except MachineError as error:  # a plan for another machine is a plan
        if not dry_run:
            raise
        log(f"machine  not this one: {error}")
    _check_stages(sweep)
    check_ledgers(sweep)
    if sweep.search is not None:
        _check_stages(sweep._replace(plan=trial_plan(sweep.search)))
    log(f"{sweep.file.name}: {sweep.file.question}")
    description.log_all(
        description.lines(sweep.plan, sweep.corpus, sweep.notes, sweep.base, _paper(sweep.recipe), sweep.states(), at_once), log
    )
    if sweep.search is not None:
        description.log_all(description.search_lines(sweep.search, sweep.corpus, read_trials(sweep.folder)), log)
    fit = forecast.memory(sweep)
    log(f"memory   {fit.text}")
    if line := kept_outputs.planned(sweep):
        log(f"vision   {line}")
    log(f"time     {forecast.time_left(sweep, at_once)[1]}")
    if dry_run and not sweep.base.is_tiny:
        description.log_all([f"card     {line}" for line in forecast.cards_that_fit(sweep)], log)
    if dry_run:
        return DONE
    lease: Lease | None = None
    folder = sweep.folder if request.results.is_absolute() else request.results  # on a cluster a relative path is refused as given
    refuse([*quick_findings(sweep.profile, folder), *([fit] if sweep.base.shape else [])])
    log(f"resume   {request.command}")  # also if this process is killed, as Ray does if its own node process dies
    try:
        with _terminable(), Lease(sweep.folder) as lease:
            if request.retry:
                sweep.forget_failures()
            if {request.corpus, *request.evaluate_on} & set(GENERATED):  # planned from recipes; from here on media must exist
                others = tuple(read_others(request, generate=True, progress=log))
                sweep = sweep._replace(corpus=read_corpus(request, generate=True, progress=log), others=others)
            return _run(sweep, console) if sweep.search is None else _run_search(sweep, console)
    except KeyboardInterrupt:
        if lease is not None and lease.lost:
            raise ResultsError(
                f"{sweep.folder} was taken over by another sweep while this one was suspended; this one stopped, and what was finished is kept"
            ) from None
        log(f"stopped at once; what was finished is kept. Resume with:  {request.command}")
        return INTERRUPTED
    except (SweepStoppedError, StorageError, OSError) as error:
        if lease is None or not (isinstance(error, SweepStoppedError) or ends_sweep(error)):
            raise
        log(f"stopped: {error}")
        log(f"what was finished is kept. Resume with:  {request.command}")
        return FAILED


@contextmanager
def _terminable() -> Iterator[None]:
    """Handle SIGTERM like a second Ctrl-C: stop at once, and log the command that resumes."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # as in a notebook's helper thread: signals go elsewhere
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def status(request: Request, console: Console | None = None) -> int:
    """Print a sweep's progress, read from its folder only: works from another terminal, or another machine that shares the folder."""
    log = console_logger(console or Console())
    sweep = prepare(request)
    held = holder(sweep.folder)
    log(f"{sweep.folder}: {f'running, pid {held[1]} on {held[0]}' if held else 'not running'}")
    if sweep.search is not None:
        log(description.counted(sweep.search, read_trials(sweep.folder)))
    states = sweep.states()
    log(f"{states.done} units done, {states.failed} failed, {states.resumable} started, {states.new} not started")
    for unit in sweep.plan.units:
        outcome = sweep.outcome(unit)
        if outcome is None and sweep.has_started(unit):
            log(f"  {describe(unit, sweep.folder)}")
        elif outcome not in (None, "done"):
            log(f"  {unit.title}: {outcome}")
    log(f"resume with:  {request.command}")
    return DONE


def as_data(request: Request) -> dict[str, object]:
    """The plan and the state of each unit as plain data, for --json."""
    sweep = prepare(request)
    plan, clips = sweep.plan, sweep.corpus
    extents = extents_of(plan, len(clips.split("train")), len(clips.scored))

    def state(unit: Unit) -> str:
        return sweep.outcome(unit) or ("begun" if sweep.has_started(unit) else "new")

    return {
        "space": sweep.file.name,
        "question": sweep.file.question,
        "folder": str(sweep.folder),
        "running": holder(sweep.folder) is not None,
        "stages": len(plan.stages),
        "shared_stages": plan.num_shared(),
        "memory": forecast.memory(sweep).text,
        "sec_left": forecast.time_left(sweep, None)[0],  # one unit after the other
        "rows": [row._asdict() for row in plan.rows],
        "units": [
            {"id": unit.id, "title": unit.title, "needs": list(unit.needs), "state": state(unit), "steps": extents[unit.id].steps}
            for unit in plan.units
        ],
        "command": request.command,
        **({"trials": [trial._asdict() for trial in read_trials(sweep.folder)]} if sweep.search is not None else {}),
    }


def _run_search(sweep: Sweep, console: Console) -> int:
    """Run the trials that have not ended, then the best of them and Base, like any other plan."""
    from analysis import write_search
    from omnimer_ray.search.runner import closing, run_trials

    log = console_logger(console)
    write_plan(sweep)
    sweep = _prepare_clips(sweep, log)
    code = run_trials(sweep, console)
    log(f"trials: {write_search(sweep.folder)[0]}")
    if code != DONE:
        return code
    sweep = sweep._replace(plan=sweep.make_plan())
    description.log_all(description.variant_lines(sweep.plan, sweep.corpus), log)
    _check_stages(sweep)
    code = _run(sweep, console)
    description.log_all(closing(sweep), log)
    return code


def _run(sweep: Sweep, console: Console) -> int:
    log = console_logger(console)
    outcomes = {unit.id: sweep.outcome(unit) for unit in sweep.plan.units}
    if sweep.plan.only is None:  # then the folder may have the plan of a sweep
        write_plan(sweep)
    ended: Outcome | None = None
    if _can_start(sweep.plan, outcomes):
        sweep = _prepare_clips(sweep, log)
        _register(sweep, log)
        ended = _execute(sweep, console)
    else:
        log("nothing is left to start" + ("" if sweep.plan.only else "; the tables are built again"))
        write_clips(sweep)
    write_ledger(sweep)
    for unit in sweep.plan.units:  # files that were not written when the unit ended
        _write_takeaways(sweep, unit)
    if sweep.plan.only is not None:
        description.log_all(yield_lines(sweep) if sweep.plan.only == "supervision" else list(kept_lines(sweep.request.results)), log)
        return _report(ended, sweep, log)
    from analysis import terminal_tables, write_all

    files = write_all(sweep.folder)
    log(terminal_tables(sweep.folder))
    log(f"tables: {sweep.folder / 'tables'}    report: {files[-1]}")
    return _report(ended, sweep, log)


def _can_start(plan: Plan, outcomes: dict[str, str | None]) -> bool:
    """Whether a unit without an outcome exists that depends on no failed unit, directly or indirectly."""
    blocked = {name for name, outcome in outcomes.items() if outcome not in (None, "done")}
    for unit in plan.units:  # a unit comes after those that it needs
        if blocked & set(unit.needs):
            blocked.add(unit.id)
    return any(outcome is None and name not in blocked for name, outcome in outcomes.items())


def _prepare_clips(sweep: Sweep, log: Callable[[str], None]) -> Sweep:
    """Decode and check all media; clips.parquet is written first of all, so that the folder of a running sweep can be loaded.

    Returns the sweep with the place of the vision tower's outputs, whose size is known now.
    """
    from omnimer_ray.media.prepare import prepare_media

    for feature in sweep.plan.features:
        if feature.is_given and sweep.store(feature).missing(sweep.corpus.clips):
            log(f"reading {encoder_name(feature)}")
            check_contents(feature, sweep.corpus.clips)
    tokens = dict.fromkeys((*(config.media for config in sweep.plan.thinkers), *_of_features(sweep.plan)), 0)
    for media in tokens:
        for clips in (sweep.corpus.clips, *(other.scored for other in sweep.others)):
            tokens[media] += prepare_media(clips, media, default_cache(), os.cpu_count() or 1, log)
    write_clips(sweep)
    configs = [(config, tokens[config.media]) for config in kept_outputs.distinct(sweep.plan)]
    return sweep._replace(keeps_outputs=kept_outputs.fit(sweep, configs, log))


def _of_features(plan: Plan) -> Iterator[MediaConfig]:
    """Media settings of the features that the runs read."""
    return (feature.media for feature in plan.features if feature.media is not None)


def _register(sweep: Sweep, log: Callable[[str], None]) -> None:
    """Register the contrasts with their power before the first run that they are about."""
    from analysis.power import power_lines
    from analysis.shapes import read_shape

    if sweep.plan.only is not None or (content := to_register(sweep)) is None:
        return
    lines = list(power_lines(read_shape(sweep.folder), len(content["seeds"]), sweep.request.folds, log))
    register(sweep.folder, content, lines)
    description.log_all([f"registered {len(content['contrasts'])} contrasts in {sweep.folder / REGISTRATION}", *lines], log)


def _execute(sweep: Sweep, console: Console) -> Outcome:
    from omnimer_ray.execution.driver import make_job, run_with_ray
    from omnimer_ray.execution.searcher import PlanSearcher

    job = make_job(sweep, sweep.folder, sweep.corpus.clips)
    extents = extents_of(sweep.plan, len(sweep.corpus.split("train")), len(sweep.corpus.scored))
    with Leases(sweep.unfinished_ledgers(sweep.plan.units), console_logger(console)) as leases:
        sweep.freeze(sweep.plan.units)  # the sweep may have been killed before it did
        outcomes = {unit.id: sweep.outcome(unit) for unit in sweep.plan.units}  # another sweep may have built a ledger meanwhile
        recorded = [name for name, outcome in outcomes.items() if outcome is not None]
        progress = Progress(console, job.folder, extents, recorded, partial(_after_unit, sweep, leases))
        todo = [unit for unit in sweep.plan.units if outcomes[unit.id] is None]
        done = [name for name, outcome in outcomes.items() if outcome == "done"]
        return run_with_ray(job, PlanSearcher(todo, done, job.stop_file.exists, progress), progress, console_logger(console))


def _after_unit(sweep: Sweep, leases: Leases, unit: Unit) -> None:
    """Freeze a finished ledger and release it to other sweeps, or write a run's curves and model card."""
    for folder in sweep.freeze([unit]):
        leases.release(folder)
    _write_takeaways(sweep, unit)


def _write_takeaways(sweep: Sweep, unit: Unit) -> None:
    """Write the curves and the adapter's model card of a unit that ended."""
    write_events(sweep, unit)
    write_card(sweep, unit)


def _report(ended: Outcome | None, sweep: Sweep, log: Callable[[str], None]) -> int:
    """Log what failed or was not started, and the command that resumes; returns the exit code."""
    units = {unit.id: unit for unit in sweep.plan.units}
    recorded = [name for name, unit in units.items() if sweep.outcome(unit) not in (None, "done")]
    failed, left, stopped = (ended.failed, ended.left, ended.stopped) if ended else ({}, (), False)
    for name, reason in failed.items():
        log(f"failed: {units[name].title}: {reason}")
    if left:
        log(f"{len(left)} units were not started" + ("" if stopped else ", because a unit that they need failed"))
    if recorded:
        log(f"{len(recorded)} units are recorded as failed. Start them again with:  {sweep.request.command} --retry failed")
    if stopped or set(failed) - set(recorded):
        log(f"what was finished is kept. Resume with:  {sweep.request.command}")
    return INTERRUPTED if stopped else FAILED if failed or left or recorded else DONE


def _paper(recipe: ThinkerConfig) -> ThinkerConfig:
    return omnimer_qwen7b(recipe.corpus, recipe.base)


def _check_stages(sweep: Sweep) -> None:
    """Check that every fold exists, every stage has at least one step, and the profile can share out its blocks."""
    workers = max(1, sweep.profile.workers_per_run)
    folds = {stage.config.corpus.fold: stage.config for stage in sweep.plan.stages.values()}
    training = {fold: [clip for clip in splits_of(config, sweep.corpus.clips) if clip.split == "train"] for fold, config in folds.items()}
    for stage in sweep.plan.stages.values():
        config = stage.config
        if isinstance(config, FusionConfig):
            if not isinstance(config.network, Linear):
                check_steps(len(labelled(config, with_choice(config, training[config.corpus.fold]))), config.epochs, config.global_batch)
            continue
        assert isinstance(config, ThinkerConfig)
        check_split(config.block, fitting(sweep.profile.micro_batch, config.block, workers), workers)
        if config.steps is None:
            items = len(fraction_of(training[config.corpus.fold], config)) * len(stage.kinds)
            check_steps(items, stage_epochs(config, stage.position), config.global_batch)


def _check_place(request: Request) -> None:
    """Refuse relative paths inside a Ray job, except those of files that only the driver reads."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
        return
    base = Path(request.base).expanduser()
    given = {
        "--results": request.results,
        "--corpus": request.corpus_path,
        "--media": request.media,
        "--base": base if request.base != TINY and base.is_dir() else None,
    }
    relative = [f"{option} {path}" for option, path in given.items() if path and not path.expanduser().is_absolute()]
    if relative:
        raise ConfigError(
            f"{' and '.join(relative)} {'are' if relative[1:] else 'is'} relative, and a Ray job's working folder is temporary; "
            "give an absolute path that all machines share"
        )
