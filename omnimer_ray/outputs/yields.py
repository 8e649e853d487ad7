"""The yield of the supervision: how many auxiliary answers of each modality and label were accepted, and why others were not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from omnimer_ray.config import AUXILIARY_OF, Kind, flat
from omnimer_ray.corpora.clips import SENTIMENTS, Clip
from omnimer_ray.errors import ConfigError
from omnimer_ray.markdown import one_line
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import LedgerPart, LedgerUnit
from omnimer_ray.tasks.checks import absent_keywords, leak
from omnimer_ray.tasks.supervision import Entry, read_entries

MADE = ("agreed", "constrained", "rejected")
SHOWN = (("free", "free_answer"), ("label given", "constrained_answer"), ("accepted", "answer"), ("refused", "why"))


class Built(NamedTuple):
    """A part of the ledger with its entries, of this corpus's clips only."""

    part: LedgerPart
    settings: str  # that differ from the recipe's
    entries: dict[str, Entry]


def built(sweep: Sweep) -> list[Built]:
    """The parts of the ledger that a plan needs, as far as they are built."""
    known = {clip.id for clip in sweep.corpus.clips}
    found = []
    for part in {unit.part.key: unit.part for unit in sweep.plan.units if isinstance(unit, LedgerUnit)}.values():
        entries = read_entries(sweep.ledgers / part.key, part.kind)
        found.append(Built(part, _settings(part, sweep), {clip: entry for clip, entry in sorted(entries.items()) if clip in known}))
    return found


def accepted(sweep: Sweep) -> list[Built]:
    """The same with the accepted entries alone. Raises ConfigError if there is none."""
    parts = [
        one._replace(entries={clip: entry for clip, entry in one.entries.items() if entry["answer"] is not None}) for one in built(sweep)
    ]
    if not any(one.entries for one in parts):
        name = sweep.request.space
        raise ConfigError(
            f"no supervision of {name} is built yet; run  python -m omnimer_ray.supervision build {name}  with the same options"
        )
    return parts


def yield_lines(sweep: Sweep) -> list[str]:
    """Lines for a terminal: a table of every part, then what was wrong with the answers that were not accepted, and what the checks find."""
    clips = {clip.id: clip for clip in sweep.corpus.clips}
    return [line for one in built(sweep) for line in _part_lines(one, clips)]


def counts(entries: Sequence[Entry]) -> dict[str, Counter[str]]:
    """Number of entries by gold label and how they were made."""
    return {label: Counter(str(entry["made"]) for entry in entries if entry["gold"] == label) for label in SENTIMENTS}


def _part_lines(one: Built, clips: Mapping[str, Clip]) -> list[str]:
    kind, entries = one.part.kind, list(one.entries.values())
    lines = ["", f"{kind} ({AUXILIARY_OF[kind].modality} alone), ledger {one.part.key}{one.settings}"]
    if not entries:
        return [*lines, "  nothing is built yet"]
    lines += [f"  {'label':9} {'clips':>6} {'agreed':>7} {'constrained':>12} {'rejected':>9} {'accepted':>9}"]
    by_label = counts(entries)
    for label, made in (*by_label.items(), ("all", sum(by_label.values(), Counter[str]()))):
        total = made.total()
        share = f"{(total - made['rejected']) / total:.0%}" if total else ""
        lines += [f"  {label:9} {total:6} {made['agreed']:7} {made['constrained']:12} {made['rejected']:9} {share:>9}"]
    refused = Counter(str(entry["why"]).partition(":")[0] for entry in entries if entry.get("why"))
    lines += [f"  refused, {why}: {count}" for why, count in sorted(refused.items())]
    attempts = sum(entry.get("attempts") or 0 for entry in entries)
    return [*lines, *([f"  {attempts} answers written for {len(entries)} clips"] if attempts else []), *_findings(kind, one, clips)]


def _findings(kind: Kind, one: Built, clips: Mapping[str, Clip]) -> list[str]:
    """What the checks that can be switched on find in the accepted answers."""
    accepted = {clip: fields(entry) for clip, entry in one.entries.items() if entry["answer"] is not None}
    language = one.part.config.answer_language
    leaks = Counter(
        reason for clip, answer in accepted.items() if (reason := leak(answer["explanation"], str(one.entries[clip]["gold"]), language))
    )
    lines = [f"  of {len(accepted)} accepted answers, whose explanation {reason}: {count}" for reason, count in sorted(leaks.items())]
    if AUXILIARY_OF[kind].modality == "text":
        absent = sum(bool(absent_keywords(answer["keywords"], clips[clip].text)) for clip, answer in accepted.items())
        lines += [f"  of {len(accepted)} accepted answers, with a keyword that the transcript does not hold: {absent}"]
    return lines


def fields(entry: Entry) -> dict[str, Any]:
    """The fields of an accepted answer."""
    answer: dict[str, Any] = json.loads(entry["answer"])
    return answer


def _settings(part: LedgerPart, sweep: Sweep) -> str:
    """The settings of a part's supervision that differ from the recipe's."""
    recipe, mine = flat(sweep.recipe.supervision.model_dump()), flat(part.config.supervision.model_dump())
    return "".join(f", {name} {value}" for name, value in mine.items() if value != recipe[name])


def sample_lines(parts: Sequence[Built], samples: int) -> list[str]:
    """Entries in full: up to `samples` of each instruction and each way they were made."""
    lines = []
    for one in parts:
        for made in MADE:
            for entry in [entry for entry in one.entries.values() if entry["made"] == made][:samples]:
                lines += ["", f"{entry['clip']}, {one.part.kind}, {made}, gold {entry['gold']}"]
                lines += [f"  {name:12} {one_line(str(entry[column]))}" for name, column in SHOWN if entry.get(column) is not None]
    return lines
