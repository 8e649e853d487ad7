"""Time and memory of the runs of each row, from their cost files: never part of a score table, and other numbers on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from analysis.folder import DONE, Results
from omnimer_ray.records import read_json

TIMES = ("startup_sec", "training_sec", "evaluation_sec")


def costs_schema() -> dict[str, Any]:
    """Columns: finished runs of a row, the stages that they needed, seconds of workers, failed attempts, peak memory of a worker."""
    counts = {"runs": pl.Int64, "stages": pl.Int64, **dict.fromkeys(TIMES, pl.Float64), "sec": pl.Float64, "failed_attempts": pl.Int64}
    return {"variant": pl.String, **counts, "host_gib": pl.Float64, "device_gib": pl.Float64, "devices": pl.String}


def costs_table(results: Results) -> pl.DataFrame:
    """A row per variant and one for all; a stage counts in every row that needs it, and once in the sum. Times are null where a file has none."""
    done = results.runs.filter(pl.col("outcome") == DONE)
    rows = []
    for variant in (*results.plan.variants, None):
        mine = done if variant is None else done.filter(pl.col("variant") == variant)
        runs = mine["signature"].unique(maintain_order=True).to_list()
        stages = sorted(set(mine["stages"].explode().drop_nulls()))
        folders = [*(results.folder / "runs" / run for run in runs), *(results.folder / "stages" / stage for stage in stages)]
        rows.append({"variant": variant or "all, each stage once", "runs": len(runs), "stages": len(stages), **_sums(folders)})
    return pl.DataFrame(rows, schema=costs_schema())


def _sums(folders: list[Path]) -> dict[str, Any]:
    costs = [read_json(folder / "cost.json") for folder in folders if (folder / "cost.json").exists()]
    records = [read_json(folder / "record.json") for folder in folders if (folder / "record.json").exists()]  # weights need not be there
    memory = {
        name: max((record[key] for record in records if record.get(key) is not None), default=None)
        for name, key in (("host_gib", "peak_host_memory_gib"), ("device_gib", "peak_device_memory_gib"))
    }
    known = [cost for cost in costs if all(isinstance(cost.get(name), int | float) for name in (*TIMES, "sec"))]
    times = {name: float(sum(cost[name] * cost.get("workers", 1) for cost in known)) for name in (*TIMES, "sec")} if known else {}
    return {
        **times,
        **memory,
        "failed_attempts": sum(len(cost.get("attempts") or ()) for cost in costs),
        "devices": ", ".join(sorted({str(record["device"]) for record in records if record.get("device")})),
    }
