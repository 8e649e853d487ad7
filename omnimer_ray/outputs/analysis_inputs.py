"""Inputs of the analysis beside the records: plan.json, clips.parquet, ledger.parquet; and a recorded run's scores."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from omnimer_ray.corpora import default_cache
from omnimer_ray.corpora.clips import LABELS, Corpus
from omnimer_ray.metrics import Scores, scores
from omnimer_ray.planning.owner import Owner
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import LedgerUnit, Run
from omnimer_ray.records import check_recorded, clips_schema, ledger_schema, read_record, write_json, write_table
from omnimer_ray.tasks.supervision import read_entries


def write_plan(sweep: Sweep) -> None:
    """Write plan.json: the rows of the tables with their signatures, for the analysis."""
    plan, corpus, base = sweep.plan, sweep.corpus, sweep.base
    write_json(
        sweep.folder / "plan.json",
        {
            **Owner.of(sweep.file, corpus, base).as_plan(),
            "question": sweep.file.question,
            "corpus": {
                "name": corpus.name,
                "fingerprint": corpus.fingerprint,
                "limit": sweep.request.limit,
                "folds": sweep.request.folds,
                "stand_in": corpus.stand_in,
                "excluded": list(corpus.excluded),
                "warnings": list(corpus.warnings),
                "reported": corpus.reported,
                "notes": list(sweep.notes),
            },
            "evaluated_on": [_other(other) for other in sweep.others],
            "base": {"name": base.name, "revision": base.revision, "stand_in": base.stand_in},
            "command": _portable(sweep.request.command),
            "variants": list(plan.space.variants),
            "notes": dict(plan.space.notes),
            "tasks": list(plan.space.tasks),
            "reference": plan.reference,
            "contrasts": [list(pair) for pair in plan.contrasts],
            "rows": [row._asdict() for row in plan.rows],
        },
    )


def _other(corpus: Corpus) -> dict[str, Any]:
    """A corpus that runs answer besides their own."""
    about = {name: getattr(corpus, name) for name in ("name", "fingerprint", "stand_in", "reported")}
    return {**about, **{name: list(getattr(corpus, name)) for name in ("excluded", "warnings", "notes")}}


def _portable(command: str) -> str:
    """The command as tables show it: their text must not depend on where an interpreter is installed."""
    return shlex.join(["python", *shlex.split(command)[1:]])


def write_clips(sweep: Sweep) -> None:
    """clips.parquet, with thumbnails of the clips that are scored; a file with the same clips is kept."""
    import polars as pl

    from omnimer_ray.media.prepare import thumbnails

    path, schema = sweep.folder / "clips.parquet", clips_schema()
    names = [name for name in schema if name not in ("corpus", "clip", "thumbnails")]
    corpora = (sweep.corpus, *sweep.others)
    rows = [
        {"corpus": corpus.name, "clip": clip.id, **{name: getattr(clip, name) for name in names}}
        for corpus in corpora
        for clip in corpus.clips
    ]
    clips = pl.DataFrame(rows, schema={name: kind for name, kind in schema.items() if name != "thumbnails"})
    try:
        if pl.read_parquet(path).drop("thumbnails").equals(clips):
            return
    except (OSError, pl.exceptions.PolarsError):
        pass  # absent or incomplete
    folds = sweep.request.folds is not None
    shown = [(clip, clip.split == corpus.reported or (folds and corpus is sweep.corpus)) for corpus in corpora for clip in corpus.clips]
    strips = [thumbnails(clip, sweep.recipe.media, default_cache()) if is_scored else None for clip, is_scored in shown]
    write_table(path, clips.with_columns(pl.Series("thumbnails", strips, pl.Binary)).select(list(schema)))


def write_ledger(sweep: Sweep) -> None:
    """ledger.parquet: the entries of all instructions so far, of every ledger that the plan needs."""
    import polars as pl

    parts = {unit.part.key: unit.part for unit in sweep.plan.units if isinstance(unit, LedgerUnit)}.values()
    known = {clip.id for clip in sweep.corpus.clips}
    entries = [sorted(read_entries(sweep.ledgers / part.key, part.kind).items()) for part in parts]
    rows = [entry for part in entries for clip, entry in part if clip in known]
    write_table(sweep.folder / "ledger.parquet", pl.DataFrame(rows, schema=ledger_schema()))


def run_scores(folder: Path, run: Run) -> Scores | None:
    """Scores of a run on its own corpus; None if it is not done."""
    import polars as pl

    place, config = folder / "runs" / run.signature, run.config
    if (read_record(place) or {}).get("outcome") != "done":
        return None
    check_recorded(place / "predictions.parquet")
    frame = pl.read_parquet(place / "predictions.parquet")
    mine = frame.filter((pl.col("instruction") == config.task) & (pl.col("evaluation_corpus") == config.corpus.name))
    return scores(gold=mine["gold"].to_list(), predicted=mine["prediction"].to_list(), labels=LABELS[config.task])
