"""What the analysis reads beside the records: plan.json, clips.parquet, ledger.parquet."""

from __future__ import annotations

from omnimer_ray.corpora import default_cache
from omnimer_ray.request import Sweep
from omnimer_ray.results import clips_schema, ledger_schema, write_json, write_table
from omnimer_ray.supervision import read_entries


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
