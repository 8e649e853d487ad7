"""One self-contained report.html: question, registration, plan, tables, figures, claims, cases, clips, failures, costs.

All text from a corpus, a model or a plan is escaped by jinja2; images are inlined, nothing is fetched.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from analysis.cases import best_row, cases
from analysis.claims import claims_grid
from analysis.costs import costs_table
from analysis.folder import DONE, Results
from analysis.formats import REBUILD, html
from analysis.grids import costs_grid, yield_grid
from analysis.notes import missing_runs, notes, signature_lines
from analysis.score_plots import has_costs
from analysis.search_table import trials_grid
from analysis.settings import settings_grid
from analysis.sweep_tables import task_tables
from analysis.units import scored_clips
from omnimer_ray.config import content_hash
from omnimer_ray.records import read_record

TEMPLATE = Path(__file__).with_name("report.html")
GALLERY = 12  # clips


def report(results: Results, figures: Mapping[str, bytes], num_clips: int = GALLERY) -> str:
    """The page, with `figures` (file name -> SVG or PNG) inlined and a gallery of `num_clips`."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    plan = results.plan
    outcomes = results.runs.unique("signature")["outcome"].to_list()
    return page.render(
        plan=plan,
        html=html,
        stand_ins=results.stand_ins,
        done=outcomes.count(DONE),
        planned=len(outcomes),
        unplanned=results.unplanned,
        registration=results.registrations[0] if results.registrations else None,
        versions=_versions(results),
        settings=settings_grid(results),
        tasks=[_task(results, task, figures) for task in plan.tasks],
        trials=trials_grid(results.folder),
        search_figures=_inlined(figures, "search"),
        corpus_figures=_inlined(figures, "corpus_"),
        ledger=yield_grid(results.ledger),
        claims=claims_grid(results),
        cases=[{"task": task, "best": best_row(results, task), "clips": _with_frames(cases(results, task))} for task in plan.tasks],
        gallery=gallery(results, num_clips),
        failed=[line for task in plan.tasks for line in missing_runs(results, task)],
        costs=costs_grid(costs_table(results)) if has_costs(results) else None,
        rebuild=REBUILD,
    )


def _versions(results: Results) -> str:
    """The versions of packages and the devices that finished runs were made with."""
    found: dict[str, set[str]] = {}
    for signature in results.runs.filter(pl.col("outcome") == DONE)["signature"].unique():
        record = read_record(results.folder / "runs" / signature) or {}
        for name, version in ((record.get("versions") or {}) | ({"device": record["device"]} if record.get("device") else {})).items():
            found.setdefault(name, set()).add(str(version))
    return ", ".join(f"{name} {' and '.join(sorted(versions))}" for name, versions in sorted(found.items()))


def _task(results: Results, task: str, figures: Mapping[str, bytes]) -> dict[str, Any]:
    scored, named = scored_clips(results, task), task_tables(results, task)
    grids = [grid for _, _, grid in named]
    leading = sum(name in (task, f"{task}_per_class", f"{task}_differences") for name, *_ in named)
    remarks = [line for line in notes(results, task) if not line.startswith("STAND-IN")]
    return {
        "name": task,
        "clips": scored.height,
        "videos": scored["source_video"].n_unique(),
        "grids": grids[:leading],
        "more": grids[leading:],
        "figures": _inlined(figures, f"{task}_"),
        "notes": remarks,
        "signatures": signature_lines(results, task),
    }


def _inlined(figures: Mapping[str, bytes], beginning: str) -> list[tuple[str, str]]:
    """Names and data URIs of the SVG figures whose names begin so."""
    return [
        (name.removesuffix(".svg").replace("_", " "), data_uri(image, "image/svg+xml"))
        for name, image in figures.items()
        if name.startswith(beginning) and name.endswith(".svg")
    ]


def _with_frames(clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**clip, "thumbnails": jpeg_uri(clip["thumbnails"])} for clip in clips]


def gallery(results: Results, num_clips: int = GALLERY) -> list[dict[str, Any]]:
    """A few scored clips, selected by a hash of their id and not by their scores, with every variant's answer."""
    if results.predictions.is_empty():
        return []
    scored = results.clips.join(results.predictions.select("clip").unique(), on="clip", how="semi")
    chosen = sorted(scored.iter_rows(named=True), key=lambda clip: (clip["thumbnails"] is None, content_hash(clip["clip"])))[:num_clips]
    firsts = (
        results.runs.filter(pl.col("outcome") == DONE)
        .join(results.predictions, on=["signature"], how="inner")
        .sort("seed", "fold", maintain_order=True)
    )
    return [
        {**clip, "thumbnails": jpeg_uri(clip["thumbnails"]), "answers": _answers(firsts.filter(pl.col("clip") == clip["clip"]), results)}
        for clip in chosen
    ]


def _answers(answers: pl.DataFrame, results: Results) -> list[dict[str, Any]]:
    """Per variant and task, the prediction of the first seed: None without a run, 'unparsed' without a label."""
    lines = []
    for variant in results.plan.variants:
        line: dict[str, Any] = {"variant": variant}
        for task in results.plan.tasks:
            mine = answers.filter((pl.col("variant") == variant) & (pl.col("task") == task)).head(1)
            line[task] = (
                None
                if mine.is_empty()
                else {"label": mine["prediction"][0] or "unparsed", "right": mine["prediction"][0] == mine["gold"][0]}
            )
        lines.append(line)
    return lines


def jpeg_uri(image: bytes | None) -> str | None:
    """A data URI, or None if the bytes are no JPEG."""
    return data_uri(image, "image/jpeg") if image and image.startswith(b"\xff\xd8\xff") else None


def data_uri(content: bytes, media_type: str) -> str:
    """`content` as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
