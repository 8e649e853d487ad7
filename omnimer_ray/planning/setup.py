"""A command's arguments -> corpus, base, machine, recipe, plan and folders, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from omnimer_ray.config import CorpusConfig, RunConfig, ThinkerConfig, changed, parse
from omnimer_ray.corpora import GENERATED, default_cache
from omnimer_ray.corpora import load as load_corpus
from omnimer_ray.corpora.clips import TASKS, Corpus
from omnimer_ray.corpora.select import splits_of
from omnimer_ray.errors import ConfigError, MachineError, ResultsError
from omnimer_ray.feature_config import Feature
from omnimer_ray.features.given import check_names
from omnimer_ray.features.locating import Located, resolved
from omnimer_ray.features.store import FEATURES, FeatureStore
from omnimer_ray.machine.profile import MachineProfile, load_profile
from omnimer_ray.model.bases import Base, locate
from omnimer_ray.planning import description
from omnimer_ray.planning.items import ledger_hash, unit_clips
from omnimer_ray.planning.labels import FUSED, check_golds, with_labels, without_polarity
from omnimer_ray.planning.owner import Owner, find_folder
from omnimer_ray.planning.plan import Part, Plan, make_plan
from omnimer_ray.planning.search_space import Search, confirmation, read_trials, trial_plan
from omnimer_ray.planning.space import SearchSpace
from omnimer_ray.planning.space_files import SpaceFile, find_space, load_space
from omnimer_ray.planning.units import FeatureUnit, LedgerPart, LedgerUnit, PartUnit, Unit, record_folder, recorded_outcome, trained_stage
from omnimer_ray.recipes import recipe_for
from omnimer_ray.records import RECORD, read_record
from omnimer_ray.tasks.supervision import freeze, has_started, is_frozen, missing

NEEDED_BY: dict[Part, str] = {"supervision": "name one with auxiliary tasks", "features": "name one with networks on features"}


class Request(NamedTuple):
    """The command's arguments."""

    space: str
    corpus: str
    base: str
    machine: str
    results: Path
    limit: int | None
    seeds: int | None
    folds: int | None
    media: Path | None  # folder of a release's media, if not beside its annotations
    exclude: tuple[str, ...]  # clips by name
    retry: bool  # units that are recorded as failed
    command: str  # that resumes the sweep
    gold: str = "modality"  # of auxiliary answers
    evaluate_on: tuple[str, ...] = ()  # other corpora
    only: Part | None = None  # build this part that the space's runs need, and no more

    @property
    def corpus_path(self) -> Path | None:
        """Folder or file of a release; None for a generated corpus."""
        return path_of(self.corpus)

    def absolute(self) -> Request:
        """The request with absolute paths: the processes of Ray work in other directories."""
        return self._replace(
            space=_absolute(self.space) if self.space.endswith(".py") else self.space,
            corpus=_absolute_spec(self.corpus),
            evaluate_on=tuple(map(_absolute_spec, self.evaluate_on)),
            machine=_absolute(self.machine) if self.machine.endswith((".yaml", ".yml")) else self.machine,
            results=Path(_absolute(self.results)),
            media=Path(_absolute(self.media)) if self.media else None,
        )


class Sweep(NamedTuple):
    """A request with everything that was resolved from it."""

    request: Request
    file: SpaceFile
    corpus: Corpus
    base: Base
    profile: MachineProfile
    recipe: ThinkerConfig
    plan: Plan
    folder: Path
    ledgers: Path  # shared by all sweeps of these results
    others: tuple[Corpus, ...] = ()  # that runs answer besides
    dropped: tuple[str, ...] = ()  # tasks that the corpus has no labels for, a line each
    search: Search | None = None  # whose best trials are the plan's variants
    encoders: tuple[tuple[str, Located], ...] = ()  # pretrained ones of features, by revision
    keeps_outputs: bool = False  # of the vision tower, once it is known that they fit

    def make_plan(self) -> Plan:
        """The plan; that of a search is made from the trials so far."""
        if self.search is None:
            return self.plan
        return make_plan(confirmation(self.search, read_trials(self.folder)), ledger_shards=self.profile.ledger_shards)

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """Notices about generated clips or the tiny base, printed with their numbers."""
        notices = (self.corpus.stand_in, *(other.stand_in for other in self.others), self.base.stand_in)
        return tuple(dict.fromkeys(notice for notice in notices if notice))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is printed in the plan and under every table about corpus and labels."""
        return (
            *self.corpus.notes,
            *(() if self.request.folds else self.corpus.shared_videos),
            *self.dropped,
            *_about_others(self),
            *((FUSED,) if self.request.gold == "fused" else ()),
        )

    def store(self, feature: Feature) -> FeatureStore:
        """The kept entries of a feature."""
        return FeatureStore(self.request.results / FEATURES, feature, default_cache())

    def outcome(self, unit: Unit) -> str | None:
        """'done', a recorded failure, or None."""
        if isinstance(unit, LedgerUnit):
            folder = self.ledgers / unit.part.key
            return None if missing(folder, unit.part.kind, unit_clips(unit, self.corpus.clips)) else "done"
        if isinstance(unit, FeatureUnit):
            try:
                return None if self.store(unit.feature).missing(self.corpus.clips) else "done"
            except MachineError:  # the media are not here: a plan alone
                return None
        return recorded_outcome(unit, self.folder)

    def unfinished_ledgers(self, units: Iterable[Unit]) -> list[Path]:
        """Folders of the ledger parts that are still to be built or frozen."""
        parts = {unit.part.key: unit.part for unit in units if isinstance(unit, LedgerUnit)}
        return [self.ledgers / key for key, part in parts.items() if not self._is_frozen(part)]

    def freeze(self, units: Iterable[Unit]) -> list[Path]:
        """Freeze the parts of the ledger that are complete; returns the folders of all complete ones. Only the driver that holds their leases does it."""
        folders = []
        for part in {unit.part.key: unit.part for unit in units if isinstance(unit, LedgerUnit)}.values():
            folder = self.ledgers / part.key
            if missing(folder, part.kind, splits_of(part.config, self.corpus.clips)):
                continue
            if not self._is_frozen(part):
                freeze(folder, part.kind)
            folders.append(folder)
        return folders

    def _is_frozen(self, part: LedgerPart) -> bool:
        return is_frozen(self.ledgers / part.key, part.kind, splits_of(part.config, self.corpus.clips))

    def states(self) -> description.States:
        """Number of units that are done, failed, started and new."""
        outcomes = {unit.id: self.outcome(unit) for unit in self.plan.units}
        started = sum(outcomes[unit.id] is None and self.has_started(unit) for unit in self.plan.units)
        new = sum(value is None for value in outcomes.values()) - started
        done = sum(value == "done" for value in outcomes.values())
        return description.States(done, len(outcomes) - done - started - new, started, new)

    def forget_failures(self) -> None:
        """Delete the records of failures, so that their units are run again."""
        for unit in self.plan.units:
            if not isinstance(unit, PartUnit) and self.outcome(unit) not in (None, "done"):
                (record_folder(unit, self.folder) / RECORD).unlink()

    def has_started(self, unit: Unit) -> bool:
        """Whether a unit without an outcome has left something to resume from."""
        if isinstance(unit, LedgerUnit):
            return has_started(self.ledgers / unit.part.key, unit.part.kind)
        if isinstance(unit, FeatureUnit):
            return self.store(unit.feature).folder.exists()
        stage = trained_stage(unit)
        return stage is not None and (self.folder / "stages" / stage.key).exists()


def prepare(request: Request, *, to_plan: bool = False) -> Sweep:
    """Read everything that the plan depends on; starts nothing. `to_plan`: the base need not be here, see `locate`."""
    request = request.absolute()
    file = find_space(request.space)
    profile = load_profile(request.machine)
    base = locate(request.base, to_plan=to_plan)
    corpus = read_corpus(request, generate=False)
    chosen = {"name": corpus.name, "fingerprint": corpus.fingerprint, "limit": request.limit, "folds": request.folds}
    identity = parse(CorpusConfig, {**chosen, "reported": corpus.reported, "unfixed": corpus.unfixed}, "corpus")
    others = tuple(_others(request, corpus))
    answered = [_as_config(other) for other in others]
    recipe = changed(
        recipe_for(base.name, base.width)(identity, base.config()), {"supervision.gold": request.gold, "evaluation.also": answered}
    )
    recipe, without = without_polarity(recipe, corpus)
    space, dropped = with_labels(load_space(file, recipe), corpus)
    if isinstance(space, Search) and corpus.development:
        space = replace(space, development="own")
    if request.seeds is not None:
        space = space.with_seeds(tuple(range(request.seeds)))
    suffix = (f"-limit{request.limit}" if request.limit else "") + (f"-folds{request.folds}" if request.folds else "")
    folder = find_folder(request.results / file.name, suffix, Owner.of(file, corpus, base))
    encoders: dict[str, Located] = {}
    if isinstance(space, SearchSpace):
        space = replace(
            space, variants={name: resolved(one, encoders) if isinstance(one, RunConfig) else one for name, one in space.variants.items()}
        )
    search = space if isinstance(space, Search) else None
    if search is not None and request.folds:
        raise ConfigError(
            f"--folds {request.folds} does not go with a search: it chooses on a development part and confirms on {corpus.reported}"
        )
    fixed = confirmation(space, read_trials(folder)) if isinstance(space, Search) else space
    plan = make_plan(fixed, request.folds, profile.ledger_shards)
    if request.only is not None:
        plan = replace(trial_plan(search) if search else plan, only=request.only)
        if not plan.units:
            raise ConfigError(f"no run of the search space {file.name} needs {request.only}; {NEEDED_BY[request.only]}")
        search = None
    check_golds(trial_plan(search) if search else plan, corpus)
    for feature in plan.features:
        if feature.is_given:
            check_names(feature, corpus.clips)
    if others and plan.features:
        alone = dict.fromkeys(row.variant for row in plan.rows if not isinstance(plan.runs[row.signature].config, ThinkerConfig))
        raise ConfigError(f"--evaluate-on does not go with networks on features, which answer their own corpus alone: {', '.join(alone)}")
    return Sweep(
        request,
        file,
        corpus,
        base,
        profile,
        recipe,
        plan,
        folder,
        request.results / "ledgers",
        others,
        (*without, *dropped),
        search,
        tuple(encoders.items()),
    )


def check_ledgers(sweep: Sweep) -> None:
    """Raise ResultsError if a recorded stage was trained on other supervision than the ledger has now: the tables would mix both."""
    for stage in sweep.plan.stages.values():
        folder = sweep.folder / "stages" / stage.key
        recorded = (read_record(folder) or {}).get("ledger_hash")
        clips = splits_of(stage.config, sweep.corpus.clips)
        if recorded is None or not all(is_frozen(sweep.ledgers / part.key, part.kind, clips) for part in stage.parts):
            continue
        if (now := ledger_hash(stage, clips, sweep.ledgers)) != recorded:
            raise ResultsError(
                f"{folder} was trained on supervision with hash {recorded}, and {sweep.ledgers} now holds other answers (hash {now}); "
                "restore the ledger, or delete that stage's folder and give the same command again"
            )


def path_of(spec: str) -> Path | None:
    """The path of a corpus; None for a generated one."""
    path = spec.partition(":")[2]
    return Path(path).expanduser() if path else None


def _absolute_spec(spec: str) -> str:
    return f"{spec.partition(':')[0]}:{path.absolute()}" if (path := path_of(spec)) else spec


def _others(request: Request, corpus: Corpus) -> Iterator[Corpus]:
    """Read the other corpora that runs answer. Raises ConfigError if one cannot be told from another."""
    if request.evaluate_on and request.folds:
        raise ConfigError("--evaluate-on does not go with --folds: several models would answer each clip of the other corpus")
    names = {corpus.name}
    for spec, other in zip(request.evaluate_on, read_others(request, generate=False), strict=True):
        if other.name in names:
            raise ConfigError(
                f"--evaluate-on {spec}: a corpus called {other.name!r} is answered already; two of one name cannot be told apart"
            )
        names.add(other.name)
        if not other.scored:
            raise ConfigError(f"--evaluate-on {spec}: it has no {other.reported} clips")
        yield other


def _as_config(corpus: Corpus) -> dict[str, Any]:
    tasks = [task for task in TASKS if any(clip.label(task) for clip in corpus.scored)]
    return {"name": corpus.name, "fingerprint": corpus.fingerprint, "tasks": tasks, "num_clips": len(corpus.scored)}


def _about_others(sweep: Sweep) -> Iterator[str]:
    """A line for each other corpus, its own notes, and a line for each task that it has no labels for."""
    for other in sweep.others:
        yield f"runs also answer {other.name}: {len(other.scored)} {other.reported} clips, fingerprint {other.fingerprint}"
        for task in sweep.plan.space.tasks:
            if task not in _as_config(other)["tasks"]:
                yield f"{task} is not answered on {other.name}, which has no {task} labels"


def read_others(request: Request, generate: bool, progress: Callable[[str], None] = lambda line: None) -> list[Corpus]:
    """Read the other corpora that runs answer; without `generate`, generated ones without their media."""
    return [
        load_corpus(spec, limit=request.limit, need_media=generate or spec not in GENERATED, progress=progress)
        for spec in request.evaluate_on
    ]


def read_corpus(request: Request, generate: bool, progress: Callable[[str], None] = lambda line: None) -> Corpus:
    """Read the clips of a request, limited; folds are applied later, by each run. Without `generate`, a generated corpus without its media."""
    return load_corpus(
        request.corpus,
        limit=request.limit,
        media=request.media,
        exclude=request.exclude,
        need_media=generate or request.corpus not in GENERATED,
        progress=progress,
    )


def _absolute(path: str | Path) -> str:
    return str(Path(path).expanduser().absolute())
