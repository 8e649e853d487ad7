"""Two results folders of one corpus and base -> one: two halves of a sweep, or two sweeps to compare. Records travel, media do not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from analysis.folder import DONE, Results, load
from analysis.planned import PlanRow
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import REGISTRATION, read_json, read_record, registrations, write_atomically, write_json, write_table

LIGHT = ("record.json", "cost.json", "history.jsonl")  # of a stage: no weights
CORPUS = ("name", "fingerprint", "limit", "folds", "reported")
LABELLED = ("split", "source_video", "sentiment", "emotion", "text_sentiment", "audio_sentiment", "video_sentiment")


class Merged(NamedTuple):
    """What was put together."""

    folder: Path
    runs: int  # with a record
    twice: tuple[str, ...]  # signatures that both folders had finished, with other answers; the first folder's are kept


def merge(folders: Sequence[Path], into: Path) -> Merged:
    """Put folders together. Raises ResultsError with everything that does not fit, and writes nothing then.

    Rows with the same name must be the same runs; of a run that several folders have, a finished record is preferred, then the first folder's.
    """
    if into.exists() and any(into.iterdir()):
        raise ResultsError(f"{into} is not empty; name a new folder for the merged results")
    parts = [load(folder) for folder in folders]
    if faults := [fault for other in parts[1:] for fault in _faults(parts[0], other)]:
        raise ResultsError(f"{len(faults)} things do not fit together: " + "; ".join(faults))
    signatures = dict.fromkeys(row.signature for part in parts for row in part.plan.rows)
    chosen = {signature: _source(parts, signature) for signature in signatures}
    for signature, source in chosen.items():
        if source is not None:
            shutil.copytree(source.folder / "runs" / signature, into / "runs" / signature)
    for part in parts:
        for file in sorted(path for name in LIGHT for path in part.folder.glob(f"stages/*/{name}")):
            kept = into / file.relative_to(part.folder)
            if not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, kept)
    write_table(into / "clips.parquet", pl.read_parquet(parts[0].folder / "clips.parquet"))
    if not (ledger := pl.concat([part.ledger for part in parts]).unique(maintain_order=True)).is_empty():
        write_table(into / "ledger.parquet", ledger)
    lines = {line["hash"]: line for part in parts for line in registrations(part.folder)}
    if lines:
        text = "".join(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in lines.values())
        write_atomically(into / REGISTRATION, partial(Path.write_text, data=text, encoding="utf-8"))
    write_json(into / "plan.json", _plan(parts))  # last: without it the folder is no results folder
    return Merged(into, sum(source is not None for source in chosen.values()), tuple(_twice(parts, signatures)))


def _faults(first: Results, other: Results) -> Iterator[str]:
    """What keeps two folders apart."""
    for name in CORPUS:
        mine, theirs = getattr(first.plan.corpus, name), getattr(other.plan.corpus, name)
        if mine != theirs:
            yield f"corpus {name} is {mine} in {first.folder} and {theirs} in {other.folder}"
    if first.plan.base != other.plan.base:
        yield f"the base is {first.plan.base.name} ({first.plan.base.revision}) in {first.folder} and {other.plan.base.name} ({other.plan.base.revision}) in {other.folder}"
    if first.plan.evaluated_on != other.plan.evaluated_on:
        yield f"{first.folder} and {other.folder} are evaluated on different other corpora"
    mine, theirs = _cells(first), _cells(other)
    for cell in mine.keys() & theirs.keys():
        if mine[cell] != theirs[cell]:
            yield f"row {cell[0]!r}, {cell[1]}, seed {cell[2]}, fold {cell[3]} is run {mine[cell]} in {first.folder} and {theirs[cell]} in {other.folder}"
    labels = [{clip: rest for clip, *rest in part.clips.select("clip", *LABELLED).iter_rows()} for part in (first, other)]
    wrong = [clip for clip in sorted(labels[0].keys() | labels[1].keys()) if labels[0].get(clip) != labels[1].get(clip)]
    if wrong:
        yield f"{len(wrong)} clips are missing or have other labels in one of the folders: {', '.join(wrong[:5])}{' …' * (len(wrong) > 5)}"


def _cells(part: Results) -> dict[tuple[str, str, int | None, int | None], str]:
    return {(row.variant, row.task, row.seed, row.fold): row.signature for row in part.plan.rows}


def _source(parts: Sequence[Results], signature: str) -> Results | None:
    """The folder whose record of a run is kept; None if no folder has one."""
    having = [(part, record) for part in parts if (record := read_record(part.folder / "runs" / signature))]
    return next((part for part, record in having if record["outcome"] == DONE), having[0][0] if having else None)


def _twice(parts: Sequence[Results], signatures: dict[str, None]) -> Iterator[str]:
    """Runs that two folders have finished with different answers, as two kinds of machines may."""
    for signature in signatures:
        records = [record for part in parts if (record := read_record(part.folder / "runs" / signature)) and record["outcome"] == DONE]
        if len({record.get("files", {}).get("predictions.parquet") for record in records}) > 1:
            yield signature


def _plan(parts: Sequence[Results]) -> dict[str, Any]:
    """The first plan with the rows, variants, tasks and contrasts of all."""
    plans = [read_json(part.folder / "plan.json") for part in parts]
    rows: dict[PlanRow, None] = dict.fromkeys(row for part in parts for row in part.plan.rows)
    joined = {
        name: list(dict.fromkeys(value for part in parts for value in getattr(part.plan, name)))
        for name in ("variants", "tasks", "contrasts")
    }
    commands = dict.fromkeys(part.plan.command for part in parts)
    return {
        **plans[0],
        **joined,
        "space": " + ".join(dict.fromkeys(part.plan.space for part in parts)),
        "notes": {name: note for part in reversed(parts) for name, note in part.plan.notes.items()},
        "rows": [row.model_dump() for row in rows],
        "reference": parts[0].plan.baseline,
        "command": "; ".join(commands),
    }
