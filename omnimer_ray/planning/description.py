"""The printed plan of a sweep: corpus, base, recipe, variants, and how many units are recorded, resumable and new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from omnimer_ray.config import RunConfig, ThinkerConfig, flat
from omnimer_ray.corpora.clips import Clip, Corpus
from omnimer_ray.corpora.select import development_splits, splits_of
from omnimer_ray.feature_config import encoder_name
from omnimer_ray.fusion_config import FusionConfig, LateFusionConfig, Linear
from omnimer_ray.model.bases import Base
from omnimer_ray.planning.extents import stage_steps
from omnimer_ray.planning.plan import Plan
from omnimer_ray.planning.search_space import Search, Trial
from omnimer_ray.planning.units import FeatureUnit, LedgerUnit, Run
from omnimer_ray.recipes import GIVEN
from omnimer_ray.tasks.supervision import eligible

ALSO = "evaluation.also"  # chosen on the command line, as the corpus is
MOST_WARNINGS = 5  # lines about the corpus


class States(NamedTuple):
    """Number of units in each state."""

    done: int
    failed: int
    resumable: int
    new: int


def lines(
    plan: Plan, corpus: Corpus, notes: Sequence[str], base: Base, paper: ThinkerConfig, states: States, at_once: int | None
) -> list[str]:
    """The plan, line by line."""
    recipe = plan.space.baseline
    different = differences(paper=paper, recipe=recipe)
    printed = [
        f"corpus   {corpus.name}: {_sides(corpus)}; fingerprint {corpus.fingerprint}",
        *([f"         STAND-IN: {corpus.stand_in}"] if corpus.stand_in else []),
        *(f"         {note}" for note in notes),
        *_warnings(corpus),
        f"base     {base.name}, revision {base.revision}",
        *([f"         STAND-IN: {base.stand_in}"] if base.stand_in else []),
        f"recipe   {len(different)} settings differ from the 7B's recipe" + (":" if different else ""),
        *(f"         {line}" for line in different),
        "",
        *(ledger_lines(plan, corpus) if plan.only == "supervision" else variant_lines(plan, corpus)),
        "",
        f"plan     {summary(plan)}",
        f"         {states.done} units recorded, {states.resumable} to resume, {states.new} new"
        + (f", {states.failed} recorded as failed" if states.failed else "")
        + (f"; {at_once} at once" if at_once else ""),
    ]
    return [*printed, *(f"         merged: {line}" for line in plan.merged)]


def search_lines(search: Search, corpus: Corpus, trials: list[Trial]) -> list[str]:
    """The lines of a search: its parameter space, the clips that score its trials, and the trials so far."""
    clips = development_splits(corpus.clips, search.development)
    low, high = (search.baseline.optimizer.learning_rate * factor for factor in search.rate_factors)
    drawn = f"{len(search.subsets)} subsets, ranks {_listed(search.ranks)}, alphas {_listed(search.alphas)}, rates {low:.2g} to {high:.2g}"
    return [
        f"search   {search.num_trials} trials of {search.task}: {drawn}",
        f"         trained on {_side(clips, 'train')}, scored on {_side(clips, 'development')}; none sees a {corpus.reported} clip",
        f"         pruned at {_listed([f'{rung:.0%}' for rung in search.rungs])} of a stage unless in the best 1/{search.reduction}"
        if search.rungs
        else "         no pruning",
        f"         {counted(search, trials)}; then the best {search.num_confirmed}, and the best with and without auxiliaries, beside Base on seeds {_listed(search.confirmation_seeds)}",
    ]


def counted(search: Search, trials: list[Trial]) -> str:
    """Number of trials by outcome."""
    outcomes = Counter((trial.outcome or "not finished").replace("_", " ") for trial in trials)
    printed = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    return f"{len(trials)} of {search.num_trials} trials drawn" + (f": {printed}" if printed else "")


def summary(plan: Plan) -> str:
    """The numbers of a plan in one line."""
    ledgers = len({unit.part.key for unit in plan.units if isinstance(unit, LedgerUnit)})
    if plan.only == "features":
        return f"{len(plan.units)} features; nothing is trained"
    if plan.only == "supervision":
        return f"{ledgers} parts of the supervision ledger, in {len(plan.units)} units; nothing is trained"
    trained = sum(run.config.seeded for run in plan.runs.values())
    text = f"{trained} trained runs in {len(plan.stages)} stages ({plan.num_shared()} shared), {len(plan.runs) - trained} zero-shot evaluations"
    features = sum(isinstance(unit, FeatureUnit) for unit in plan.units)
    parts = (f", {ledgers} parts of the supervision ledger" if ledgers else "") + (f", {features} features" if features else "")
    return text + parts


def differences(*, paper: ThinkerConfig, recipe: ThinkerConfig) -> list[str]:
    """Return a line for every setting in which a recipe differs from the 7B's: the paper's value, or one assumed because it gives none."""
    theirs, ours = flat(paper.model_dump()), flat(recipe.model_dump())

    def source(name: str) -> str:
        return f"paper: {theirs[name]}" if name in GIVEN else f"7B's recipe: {theirs[name]}, assumed"

    return [f"{name}: {value} ({source(name)})" for name, value in ours.items() if value != theirs[name] and name != ALSO]


def variant_lines(plan: Plan, corpus: Corpus) -> list[str]:
    """One line per variant: its runs, the steps and items of each, and what differs from the baseline."""
    training = len(corpus.split("train"))
    width = max(len(name) for name in plan.space.variants)
    printed = []
    for variant, delta in plan.space.variants.items():
        rows = [row for row in plan.rows if row.variant == variant]
        if not rows:
            continue
        run = plan.runs[rows[0].signature]
        printed.append(f"  {variant:{width}}  {len(rows)} x {_length(run, training)}  {_about(delta)}")
    return printed


def _length(run: Run, num_training: int) -> str:
    """Steps and items of a run; a linear probe has none."""
    steps = [(stage_steps(stage, num_training), stage.config) for stage in run.stages]
    if run.stages and all(isinstance(config, FusionConfig) and isinstance(config.network, Linear) for _, config in steps):
        return "fit"
    items = sum(number * config.global_batch for number, config in steps if isinstance(config, ThinkerConfig | FusionConfig))
    return f"{sum(number for number, _ in steps)} steps, {items} items"


def _about(variant: dict[str, Any] | RunConfig) -> str:
    """What differs from the baseline, or another method in a few words."""
    if isinstance(variant, FusionConfig):
        read = ", ".join(f"{modality}: {encoder_name(feature)}" for modality, feature in sorted(variant.features.items()))
        return f"{variant.network.name} on {read}"
    if isinstance(variant, LateFusionConfig):
        return "mean of " + " and ".join(f"{name} ({_about(member)})" for name, member in variant.members.items())
    changes = variant.items() if isinstance(variant, dict) else ()
    return ", ".join(f"{name}={_plain(value)}" for name, value in changes) or "the baseline"


def ledger_lines(plan: Plan, corpus: Corpus) -> list[str]:
    """One line per part of the ledger: its clips, and the settings that its answers depend on."""
    parts = {unit.part.key: unit.part for unit in plan.units if isinstance(unit, LedgerUnit)}.values()
    return [
        f"  {part.kind:17}  ledger {part.key}, {len(eligible(splits_of(part.config, corpus.clips), part.kind))} clips with a label  "
        + ", ".join(f"{name}={value}" for name, value in part.config.supervision.model_dump().items())
        for part in parts
    ]


def _warnings(corpus: Corpus) -> list[str]:
    left = len(corpus.warnings) - MOST_WARNINGS
    more = [f"         warning: {left} more; python -m omnimer_ray.corpora check lists them"] if left > 0 else []
    return [*(f"         warning: {line}" for line in corpus.warnings[:MOST_WARNINGS]), *more]


def _plain(value: Any) -> str:
    return "{" + ", ".join(sorted(value)) + "}" if isinstance(value, set | frozenset) else str(value)


def _sides(corpus: Corpus) -> str:
    return ", ".join(side for split in ("train", "validation", "test") if (side := _side(corpus.clips, split)))


def _side(clips: Sequence[Clip], split: str) -> str:
    found = [clip for clip in clips if clip.split == split]
    return f"{len(found)} {split} clips of {len({clip.source_video for clip in found})} videos" if found else ""


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values)


def log_all(printed: list[str], log: Callable[[str], None]) -> None:
    """Log the lines."""
    for line in printed:
        log(line)
