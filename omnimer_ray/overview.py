"""What a person sees before a sweep starts: corpus, base, recipe, variants, and how much is recorded, resumable and new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from omnimer_ray.bases import Base
from omnimer_ray.config import RunConfig, flat
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.plan import Plan, Unit
from omnimer_ray.progress import extent


class States(NamedTuple):
    """Units by what stands of them."""

    done: int
    failed: int
    resumable: int
    new: int


def lines(plan: Plan, corpus: Corpus, base: Base, paper: RunConfig, states: States, at_once: int | None) -> list[str]:
    """The plan, line by line."""
    recipe = plan.space.baseline
    told = [
        f"corpus   {corpus.name}: {_sides(corpus)}; fingerprint {corpus.fingerprint}",
        *([f"         STAND-IN: {corpus.stand_in}"] if corpus.stand_in else []),
        f"base     {base.name}, revision {base.revision}",
        *([f"         STAND-IN: {base.stand_in}"] if base.stand_in else []),
        f"recipe   {len(differences(paper, recipe))} settings differ from the paper's recipe" + (":" if differences(paper, recipe) else ""),
        *(f"         {line}" for line in differences(paper, recipe)),
        "",
        *variant_lines(plan, corpus),
        "",
        f"plan     {summary(plan)}",
        f"         {states.done} units recorded, {states.resumable} to go on with, {states.new} new"
        + (f", {states.failed} recorded as failed" if states.failed else "")
        + (f"; {at_once} at once" if at_once else ""),
    ]
    return [*told, *(f"         merged: {line}" for line in plan.merged)]


def summary(plan: Plan) -> str:
    """The numbers of a plan in one line."""
    trained = sum(run.config.training for run in plan.runs.values())
    ledgers = sum(unit.ledger is not None for unit in plan.units)
    text = f"{trained} trained runs in {len(plan.stages)} stages ({plan.num_shared()} shared), {len(plan.runs) - trained} zero-shot evaluations"
    return text + (f", {ledgers} parts of the supervision ledger" if ledgers else "")


def differences(paper: RunConfig, recipe: RunConfig) -> list[str]:
    """Every setting in which a recipe differs from the paper's."""
    theirs, ours = flat(paper.model_dump()), flat(recipe.model_dump())
    return [f"{name}: {ours[name]} (paper's recipe: {theirs[name]})" for name in ours if ours[name] != theirs[name]]


def variant_lines(plan: Plan, corpus: Corpus) -> list[str]:
    """One line a variant: its runs, the steps of each, and what differs from the baseline."""
    training, validation = len(corpus.split("train")), len(corpus.split("validation"))
    width = max(len(name) for name in plan.space.variants)
    told = []
    for variant, delta in plan.space.variants.items():
        rows = [row for row in plan.rows if row.variant == variant]
        if not rows:
            continue
        run = plan.runs[rows[0].signature]
        steps = sum(extent(Unit("", (), stage, None, None, ""), training, validation).steps for stage in run.stages)
        changes = ", ".join(f"{name}={_plain(value)}" for name, value in delta.items()) or "the baseline"
        told.append(f"  {variant:{width}}  {len(rows)} x {steps} steps  {changes}")
    return told


def _plain(value: Any) -> str:
    return "{" + ", ".join(sorted(value)) + "}" if isinstance(value, set | frozenset) else str(value)


def _sides(corpus: Corpus) -> str:
    sides: list[str] = []
    for split in ("train", "validation", "test"):
        clips = [clip for clip in corpus.clips if clip.split == split]
        if clips:
            sides.append(f"{len(clips)} {split} clips of {len({clip.source_video for clip in clips})} videos")
    return ", ".join(sides)


def say_all(told: list[str], say: Callable[[str], None]) -> None:
    """Prints the lines."""
    for line in told:
        say(line)
