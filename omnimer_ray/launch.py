"""From a command's arguments to tables: read the corpus, plan, check the machine, prepare media, run, analyse."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console

from omnimer_ray import overview
from omnimer_ray.bases import Base, locate
from omnimer_ray.config import CorpusConfig, RunConfig
from omnimer_ray.corpora import default_cache
from omnimer_ray.corpora import load as load_corpus
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.corpora.select import splits_of
from omnimer_ray.errors import ConfigError, MissingExtraError, ResultsError
from omnimer_ray.lease import Lease, holder
from omnimer_ray.machine import MachineProfile, concurrency, load_profile, local_resources
from omnimer_ray.plan import Plan, Unit, make_plan, outcome, place
from omnimer_ray.progress import Progress, describe, extents_of, say_plainly
from omnimer_ray.recipes import RECIPES, omnimer_qwen7b
from omnimer_ray.results import RECORD, clips_schema, ledger_schema, write_json, write_table
from omnimer_ray.spaces import SpaceFile, find_space, load_space
from omnimer_ray.supervision import ledger_key, missing, read_entries

if TYPE_CHECKING:
    from omnimer_ray.execution import Outcome

MIN_FREE_BYTES = 500 * 2**20
NEEDED = ("ray", "torch", "torchvision", "transformers", "peft", "deepspeed", "qwen_omni_utils", "av")
DONE, FAILED, INTERRUPTED = 0, 4, 130


class Request(NamedTuple):
    """What a person asked for."""

    space: str
    corpus: str
    base: str
    machine: str
    results: Path
    limit: int | None
    seeds: int | None
    folds: int | None
    media: Path | None  # where a release's media lie, if not beside its annotations
    exclude: tuple[str, ...]  # clips by name
    retry: bool  # what is recorded as failed
    command: str  # that goes on with it


class Sweep(NamedTuple):
    """Everything that a request comes to before anything runs."""

    request: Request
    file: SpaceFile
    corpus: Corpus
    base: Base
    profile: MachineProfile
    recipe: RunConfig
    plan: Plan
    folder: Path
    ledger: Path

    def outcome(self, unit: Unit) -> str | None:
        """'done', a recorded failure, or None."""
        if unit.ledger is not None:
            return None if missing(self.ledger, unit.ledger, splits_of(self.recipe, self.corpus.clips)) else "done"
        return outcome(unit, self.folder)

    def states(self) -> overview.States:
        """How many units are done, failed, begun and new."""
        outcomes = {unit.id: self.outcome(unit) for unit in self.plan.units}
        begun = sum(outcomes[unit.id] is None and self.begun(unit) for unit in self.plan.units)
        new = sum(value is None for value in outcomes.values()) - begun
        done = sum(value == "done" for value in outcomes.values())
        return overview.States(done, len(outcomes) - done - begun - new, begun, new)

    def forget_failures(self) -> None:
        """Removes the records of failures, so that their units start again."""
        for unit in self.plan.units:
            if unit.ledger is None and self.outcome(unit) not in (None, "done"):
                (place(unit, self.folder) / RECORD).unlink()

    def begun(self, unit: Unit) -> bool:
        if unit.ledger is not None:
            return any(self.ledger.glob(f"{unit.ledger}.*.jsonl"))
        return unit.stage is not None and (self.folder / "stages" / unit.stage.key).exists()


def run(request: Request, dry_run: bool, console: Console | None = None) -> int:
    """The whole command; returns its exit code. Raises an OmniMERError before any worker starts where something is wrong."""
    console = console or Console()
    _check_place(request)
    say = say_plainly(console)
    sweep = prepare(request)
    at_once = None if sweep.profile.address else concurrency(sweep.profile, local_resources())
    say(f"{sweep.file.name}: {sweep.file.question}")
    overview.say_all(overview.lines(sweep.plan, sweep.corpus, sweep.base, _paper(sweep.recipe), sweep.states(), at_once), say)
    if dry_run:
        return DONE
    _check_extras()
    _check_disk(sweep.folder)
    with Lease(sweep.folder):
        if request.retry:
            sweep.forget_failures()
        return _run(sweep, console)


def status(request: Request, console: Console | None = None) -> int:
    """How far a sweep is, read from its folder alone: works from another terminal, or another machine that shares it."""
    say = say_plainly(console or Console())
    sweep = prepare(request)
    held = holder(sweep.folder)
    say(f"{sweep.folder}: {f'running, pid {held[1]} on {held[0]}' if held else 'not running'}")
    states = sweep.states()
    say(f"{states.done} units done, {states.failed} failed, {states.resumable} begun, {states.new} not begun")
    for unit in sweep.plan.units:
        outcome = sweep.outcome(unit)
        if outcome is None and sweep.begun(unit):
            say(f"  {describe(unit, sweep.folder)}")
        elif outcome not in (None, "done"):
            say(f"  {unit.title}: {outcome}")
    say(f"go on with:  {request.command}")
    return DONE


def as_data(request: Request) -> dict[str, object]:
    """The plan and its states as plain data, for --json."""
    sweep = prepare(request)
    plan, clips = sweep.plan, sweep.corpus
    extents = extents_of(plan, len(clips.split("train")), len(clips.split("validation")))

    def state(unit: Unit) -> str:
        return sweep.outcome(unit) or ("begun" if sweep.begun(unit) else "new")

    return {
        "space": sweep.file.name,
        "question": sweep.file.question,
        "folder": str(sweep.folder),
        "running": holder(sweep.folder) is not None,
        "stages": len(plan.stages),
        "shared_stages": plan.num_shared(),
        "rows": [row._asdict() for row in plan.rows],
        "units": [
            {"id": unit.id, "title": unit.title, "needs": list(unit.needs), "state": state(unit), "steps": extents[unit.id].steps}
            for unit in plan.units
        ],
        "command": request.command,
    }


def prepare(request: Request) -> Sweep:
    """Reads everything that the plan rests on; starts nothing."""
    file = find_space(request.space)
    profile = load_profile(request.machine)
    base = locate(request.base)
    corpus = read_corpus(request, need_media=request.corpus != "mini")
    recipe_name = base.name.rsplit("/", 1)[-1]
    make = RECIPES.get(recipe_name, omnimer_qwen7b)
    identity = CorpusConfig(name=corpus.name, fingerprint=corpus.fingerprint, limit=request.limit, folds=request.folds)
    recipe = make(identity, base.config("fp32" if recipe_name == "tiny" else "bf16"))
    space = load_space(file, recipe)
    if request.seeds is not None:
        space = space.with_seeds(tuple(range(request.seeds)))
    plan = make_plan(space, request.folds)
    part = (f"-limit{request.limit}" if request.limit else "") + (f"-folds{request.folds}" if request.folds else "")
    folder = request.results / file.name / f"{corpus.name}-{recipe_name}{part}"
    return Sweep(request, file, corpus, base, profile, recipe, plan, folder, request.results / "ledgers" / ledger_key(recipe))


def read_corpus(request: Request, need_media: bool, progress: Callable[[str], None] = lambda line: None) -> Corpus:
    """The clips that a request names, limited but not folded: each run's fold sets its splits."""
    return load_corpus(
        request.corpus,
        limit=request.limit,
        media=request.media,
        exclude=request.exclude,
        need_media=need_media,
        progress=progress,
    )


def _run(sweep: Sweep, console: Console) -> int:
    say = say_plainly(console)
    if sweep.request.corpus == "mini":  # planned from its recipe; from here on its media must stand
        sweep = sweep._replace(corpus=read_corpus(sweep.request, need_media=True, progress=say))
    recorded = {unit.id for unit in sweep.plan.units if sweep.outcome(unit) is not None}
    units = {unit.id: unit for unit in sweep.plan.units}
    write_plan(sweep)
    if set(units) - recorded:
        from omnimer_ray.prepare import prepare_media

        prepare_media(sweep.corpus.clips, sweep.recipe.media, default_cache(), os.cpu_count() or 1, say)
        ended = _execute(sweep, units, recorded, console)
        _tell(ended, units, sweep.request.command, say)
        code = INTERRUPTED if ended.stopped else FAILED if ended.failed else DONE
    else:
        say("every unit is recorded; the tables are built again")
        code = DONE
    write_clips(sweep)
    write_ledger(sweep)
    from analysis import terminal_tables, write_all

    files = write_all(sweep.folder)
    say(terminal_tables(sweep.folder))
    say(f"tables: {sweep.folder / 'tables'}    report: {files[-1]}")
    return code


def _execute(sweep: Sweep, units: dict[str, Unit], recorded: set[str], console: Console) -> Outcome:
    import ray

    from omnimer_ray.execution import Interruption, connect, execute
    from omnimer_ray.worker import Job, write_manifest

    job = Job(
        sweep.folder.resolve(),
        sweep.ledger.resolve(),
        default_cache(),
        sweep.request.base,
        sweep.profile,
        f"{os.getpid()}-{int(time.time())}",
    )
    write_manifest(job.work / "manifest.json", sweep.corpus.clips)
    write_json(job.work / "recipe.json", sweep.recipe.model_dump(mode="json"))
    shutil.rmtree(job.work / "progress", ignore_errors=True)
    clips = sweep.corpus
    extents = extents_of(sweep.plan, len(clips.split("train")), len(clips.split("validation")))
    say = say_plainly(console)
    say("starting Ray" if sweep.profile.address is None else f"joining the Ray cluster at {sweep.profile.address}")
    try:
        offered = connect(sweep.profile, local_resources())
        at_once = concurrency(sweep.profile, offered)
        with Interruption(job.stop_file, say), Progress(console, job.folder, extents, recorded) as progress:
            return execute(units, recorded, job, at_once, progress.start)
    except KeyboardInterrupt:
        say(f"stopped at once; what was finished is kept. Go on with:  {sweep.request.command}")
        raise SystemExit(INTERRUPTED) from None
    finally:
        ray.shutdown()


def write_plan(sweep: Sweep) -> None:
    """plan.json: which signature stands in which row, for the analysis."""
    plan, corpus, base = sweep.plan, sweep.corpus, sweep.base
    write_json(
        sweep.folder / "plan.json",
        {
            "space": sweep.file.name,
            "question": sweep.file.question,
            "corpus": {
                "name": corpus.name,
                "fingerprint": corpus.fingerprint,
                "limit": sweep.request.limit,
                "folds": sweep.request.folds,
                "stand_in": corpus.stand_in,
                "excluded": list(corpus.excluded),
                "warnings": list(corpus.warnings),
            },
            "base": {"name": base.name, "revision": base.revision, "stand_in": base.stand_in},
            "command": sweep.request.command,
            "variants": list(plan.space.variants),
            "tasks": list(plan.space.tasks),
            "rows": [row._asdict() for row in plan.rows],
        },
    )


def write_clips(sweep: Sweep) -> None:
    """clips.parquet, with thumbnails of the validation clips."""
    import polars as pl

    from omnimer_ray.prepare import thumbnails

    if (sweep.folder / "clips.parquet").exists():
        return
    schema = clips_schema()
    rows = []
    for clip in sweep.corpus.clips:
        shown = clip.split == "validation" or sweep.request.folds is not None
        strip = thumbnails(clip, sweep.recipe.media, default_cache()) if shown else None
        rows.append(
            {"clip": clip.id, "thumbnails": strip, **{name: getattr(clip, name) for name in schema if name not in ("clip", "thumbnails")}}
        )
    write_table(sweep.folder / "clips.parquet", pl.DataFrame(rows, schema=schema))


def write_ledger(sweep: Sweep) -> None:
    """ledger.parquet: the entries of all instructions so far."""
    import polars as pl

    kinds = [unit.ledger for unit in sweep.plan.units if unit.ledger is not None]
    known = {clip.id for clip in sweep.corpus.clips}
    rows = [entry for kind in kinds for clip, entry in sorted(read_entries(sweep.ledger, kind).items()) if clip in known]
    write_table(sweep.folder / "ledger.parquet", pl.DataFrame(rows, schema=ledger_schema()))


def _tell(ended: Outcome, units: dict[str, Unit], command: str, say: Callable[[str], None]) -> None:
    for name, reason in ended.failed.items():
        say(f"failed: {units[name].title}: {reason}")
    if ended.left:
        say(f"{len(ended.left)} units were not started, for what they need is not there")
    if ended.stopped or ended.failed:
        say(f"what was finished is kept. Go on with:  {command}")


def _paper(recipe: RunConfig) -> RunConfig:
    return omnimer_qwen7b(recipe.corpus, recipe.base)


def _check_extras() -> None:
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package.replace("_", "-"), "train")


def _check_place(request: Request) -> None:
    """A Ray job runs in a temporary folder that goes with it."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and not request.results.is_absolute():
        raise ConfigError(
            f"--results {request.results} is relative, and a Ray job's working folder is temporary; give an absolute path that all machines share"
        )


def _check_disk(folder: Path) -> None:
    place = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    if (free := shutil.disk_usage(place).free) < MIN_FREE_BYTES:
        raise ResultsError(
            f"{place} has {free / 2**20:.0f} MiB free, and a sweep needs {MIN_FREE_BYTES / 2**20:.0f}; free some, or give another --results"
        )
