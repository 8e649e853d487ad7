"""Auxiliary answers by the paper's two-step consistency check (section IV-C, eq. 5 and 6), with a ledger of how each was made.

The base writes freely; if its sentiment is the modality's gold label, the explanation is kept (agreed). Otherwise it is asked
again with the label given and justifies it (constrained). A second answer that is no JSON or contradicts the label is
rejected [A]. One line per clip and instruction is appended as soon as its batch is done, so a kill loses one batch.

A part of the ledger is one instruction's answers, in `ledgers/<key>/`: `<instruction>.<rank>.jsonl` while workers build it, then
`<instruction>.json`, frozen: sorted by clip and hashed. More clips may be added later; an entry never changes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from omnimer_ray.config import AUXILIARY_OF, Kind, content_hash
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import read_json, write_json
from omnimer_ray.tasks.instructions import Style, auxiliary_answer, parse

Entry = dict[str, str | None]


def eligible(clips: Iterable[Clip], kind: Kind) -> list[Clip]:
    """Training clips that carry the modality's gold label: no other clip is ever shown for supervision."""
    modality = AUXILIARY_OF[kind].modality
    return [clip for clip in clips if clip.split == "train" and clip.modality_sentiment(modality) is not None]


def read_entries(folder: Path, kind: Kind) -> dict[str, Entry]:
    """The entries of one instruction by clip: the frozen ones, then those of all workers. A line that a kill cut short is ignored."""
    entries = _frozen_entries(folder, kind)
    for path in _worker_files(folder, kind):
        for line in path.read_bytes().split(b"\n"):  # not splitlines: an explanation may hold a line separator
            try:
                entry = json.loads(line)
            except ValueError:  # cut short, perhaps within a character
                continue
            entries.setdefault(entry["clip"], entry)
    return entries


def missing(folder: Path, kind: Kind, clips: Iterable[Clip]) -> list[Clip]:
    """The eligible clips that have no entry yet."""
    entries = read_entries(folder, kind)
    return [clip for clip in eligible(clips, kind) if clip.id not in entries]


def freeze(folder: Path, kind: Kind) -> None:
    """Write the finished part as one file, sorted by clip, with its hash; then delete the workers' files."""
    entries = [entry for _, entry in sorted(read_entries(folder, kind).items())]
    write_json(_frozen(folder, kind), {"hash": content_hash(entries), "entries": entries})
    for path in _worker_files(folder, kind):
        path.unlink()


def is_frozen(folder: Path, kind: Kind, clips: Iterable[Clip]) -> bool:
    """Whether the frozen part has an entry of every eligible clip."""
    entries = _frozen_entries(folder, kind)
    return all(clip.id in entries for clip in eligible(clips, kind))


def _frozen_entries(folder: Path, kind: Kind) -> dict[str, Entry]:
    path = _frozen(folder, kind)
    if not path.exists():
        return {}
    part = read_json(path)
    entries = part.get("entries") if isinstance(part, dict) else None
    if not isinstance(entries, list) or content_hash(entries) != part.get("hash"):
        raise ResultsError(
            f"{path} is damaged: its entries do not have the hash that it names; remove it, and the same command makes it again"
        )
    return {entry["clip"]: entry for entry in entries}


def _frozen(folder: Path, kind: Kind) -> Path:
    return folder / f"{kind}.json"


def _worker_files(folder: Path, kind: Kind) -> list[Path]:
    return sorted(folder.glob(f"{kind}.*.jsonl"))


def has_started(folder: Path, kind: Kind) -> bool:
    """Whether any entry was written."""
    return _frozen(folder, kind).exists() or bool(_worker_files(folder, kind))


def build(
    ask: Callable[[Sequence[Clip], Sequence[str | None]], list[str]],
    todo: Sequence[Clip],
    kind: Kind,
    style: Style,
    batch: int,
    path: Path,
    report: Callable[[int, int], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Appends the entries of `todo` to a worker's own file, until it should stop. `ask` gives the base's answers for clips with their given labels, None for free ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _end_last_line(path)
    for start in range(0, len(todo), batch):
        if should_stop():
            return
        asked = todo[start : start + batch]
        entries = _two_steps(ask, asked, kind, style)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
            file.flush()
            os.fsync(file.fileno())
        report(start + len(asked), len(todo))


def _two_steps(ask: Any, clips: Sequence[Clip], kind: Kind, style: Style) -> list[Entry]:
    entries: dict[str, Entry] = {}
    again: list[Clip] = []
    for clip, text in zip(clips, ask(clips, [None] * len(clips)), strict=True):
        gold = _gold(clip, kind)
        parsed = parse(text, kind, style)
        agreed = parsed is not None and parsed.sentiment == gold
        entries[clip.id] = {
            "clip": clip.id,
            "instruction": kind,
            "gold": gold,
            "made": "agreed" if agreed else "rejected",
            "free_answer": text,
            "free_sentiment": parsed.sentiment if parsed else None,
            "constrained_answer": None,
            "answer": auxiliary_answer(kind, gold, parsed, style) if agreed and parsed else None,
        }
        if not agreed:
            again.append(clip)
    if again:
        for clip, text in zip(again, ask(again, [_gold(clip, kind) for clip in again]), strict=True):
            parsed = parse(text, kind, style, given=True)
            accepted = parsed is not None and parsed.sentiment in (None, _gold(clip, kind))
            answer = auxiliary_answer(kind, _gold(clip, kind), parsed, style) if accepted and parsed else None
            entries[clip.id].update(constrained_answer=text, answer=answer, made="constrained" if accepted else "rejected")
    return [entries[clip.id] for clip in clips]


def _gold(clip: Clip, kind: Kind) -> str:
    gold = clip.modality_sentiment(AUXILIARY_OF[kind].modality)
    assert gold is not None
    return gold


def _end_last_line(path: Path) -> None:
    """End an incomplete last line, so that the next entry does not continue it."""
    if path.exists() and (data := path.read_bytes()) and not data.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")
