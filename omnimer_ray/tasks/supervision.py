"""Auxiliary answers by the paper's two-step consistency check (section IV-C, eq. 5 and 6), with a ledger of how each was made.

The base writes freely; if its sentiment is the modality's gold label, the explanation is kept (agreed). Otherwise it is asked
again with the label given and justifies it (constrained). A second answer that is no JSON or contradicts the label is
rejected [A]. Settings beyond the paper sample an unusable answer again, and call more answers unusable. One line per clip and
instruction is appended as soon as its batch is done, so a kill loses one batch.

A part of the ledger is one instruction's answers, in `ledgers/<key>/`: `<instruction>.<shard>.<rank>.jsonl` while workers build it,
then `<instruction>.json`, frozen: sorted by clip and hashed. More clips may be added later; an entry never changes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omnimer_ray.config import AUXILIARY_OF, Kind, ThinkerConfig, content_hash
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import read_json, write_json
from omnimer_ray.tasks.checks import absent_keywords, leak
from omnimer_ray.tasks.instructions import Parsed, Style, auxiliary_answer, parse, prompts_hash

NO_JSON, ANOTHER_LABEL = "no JSON as asked for", "another label"
TRAINED_ON = ("clip", "instruction", "gold", "made", "free_answer", "free_sentiment", "constrained_answer", "answer")
"""Columns in the hash of the supervision that a stage is trained on."""

Entry = dict[str, Any]  # a row of ledger.parquet; an entry of before a column was added lacks it
Ask = Callable[[Sequence[Clip], Sequence[str | None], int], list[str]]
"""Gives the base's answers for clips with their given labels (None: free); attempt 0 is greedy, later ones are samples."""


class _Answer(NamedTuple):
    text: str
    parsed: Parsed | None
    why: str | None  # it is unusable; None if it is not
    attempts: int


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


def shard_of(clip: str, shards: int) -> int:
    """The shard, from 0, that builds a clip's entries."""
    return int.from_bytes(hashlib.sha256(clip.encode()).digest()[:8]) % shards


def build(
    ask: Ask,
    todo: Sequence[Clip],
    kind: Kind,
    config: ThinkerConfig,
    batch: int,
    path: Path,
    report: Callable[[int, int], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Appends the entries of `todo` to a worker's own file, until it should stop."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _end_last_line(path)
    for start in range(0, len(todo), batch):
        if should_stop():
            return
        asked = todo[start : start + batch]
        entries = _two_steps(ask, asked, kind, config)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
            file.flush()
            os.fsync(file.fileno())
        report(start + len(asked), len(todo))


def seed_of(clip: Clip, kind: Kind, given: str | None, attempt: int) -> str:
    """Seed of a sample: it depends on nothing but what is asked, so an answer is the same in every batch and on every worker."""
    return f"{clip.id}|{kind}|{given}|{attempt}"


def _two_steps(ask: Ask, clips: Sequence[Clip], kind: Kind, config: ThinkerConfig) -> list[Entry]:
    free = _answers(ask, clips, kind, config, given=False)
    given = _answers(ask, [clip for clip in clips if free[clip.id].why is not None], kind, config, given=True)
    return [_entry(clip, kind, config, free[clip.id], given.get(clip.id)) for clip in clips]


def _answers(ask: Ask, clips: Sequence[Clip], kind: Kind, config: ThinkerConfig, given: bool) -> dict[str, _Answer]:
    """The last answer of each clip in one step. A free answer with another label is not sampled again: the base disagrees."""
    answers: dict[str, _Answer] = {}
    left = list(clips)
    for attempt in range(config.supervision.retries + 1):
        if not left:
            break
        for clip, text in zip(left, ask(left, [_gold(clip, kind) if given else None for clip in left], attempt), strict=True):
            parsed = parse(text, kind, Style.of(config), given)
            answers[clip.id] = _Answer(text, parsed, _fault(clip, kind, config, parsed, given), attempt + 1)
        left = [clip for clip in left if answers[clip.id].why not in ((None,) if given else (None, ANOTHER_LABEL))]
    return answers


def _fault(clip: Clip, kind: Kind, config: ThinkerConfig, parsed: Parsed | None, given: bool) -> str | None:
    """Why an answer is unusable, or None."""
    gold, settings = _gold(clip, kind), config.supervision
    if parsed is None:
        return NO_JSON
    if parsed.sentiment != gold and not (given and parsed.sentiment is None):
        return ANOTHER_LABEL
    if settings.keywords_must_occur and (absent := absent_keywords(parsed.keywords, clip.text)):
        return f"keyword not in the transcript: {absent[0]}"
    return leak(str(parsed.explanation), gold, config.answer_language) if settings.leak_guard else None


def _entry(clip: Clip, kind: Kind, config: ThinkerConfig, free: _Answer, given: _Answer | None) -> Entry:
    last, style = given or free, Style.of(config)
    usable = last.parsed if last.why is None else None
    sampled = f"sampled at temperature {config.supervision.temperature:g}"
    return {
        "clip": clip.id,
        "instruction": kind,
        "gold": _gold(clip, kind),
        "made": "rejected" if usable is None else "agreed" if given is None else "constrained",
        "free_answer": free.text,
        "free_sentiment": free.parsed.sentiment if free.parsed else None,
        "constrained_answer": given.text if given else None,
        "answer": auxiliary_answer(kind, _gold(clip, kind), usable, style) if usable else None,
        "why": free.why if usable else last.why,
        "attempts": free.attempts + (given.attempts if given else 0),
        "prompts": prompts_hash([kind], style, supervision=True),
        "base_revision": config.base.revision,
        "decoding": sampled if last.attempts > 1 else "greedy",
    }


def _gold(clip: Clip, kind: Kind) -> str:
    gold = clip.modality_sentiment(AUXILIARY_OF[kind].modality)
    assert gold is not None
    return gold


def _end_last_line(path: Path) -> None:
    """End an incomplete last line, so that the next entry does not continue it."""
    if path.exists() and (data := path.read_bytes()) and not data.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")
