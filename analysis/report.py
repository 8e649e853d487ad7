"""One self-contained report.html: question, runs, tables, figures, supervision and a few clips.

All text from a corpus, a model or a plan is escaped by jinja2; images are inlined, nothing is fetched.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from analysis.folder import DONE, Results
from analysis.notes import notes, signature_lines
from analysis.render import Grid
from analysis.search_table import trials_grid
from analysis.sweep_tables import task_tables
from analysis.units import scored_clips
from omnimer_ray.config import content_hash

TEMPLATE = Path(__file__).with_name("report.html")
GALLERY = 12  # clips
MADE = ("agreed", "constrained", "rejected")


def report(results: Results, figures: Mapping[str, bytes], num_clips: int = GALLERY) -> str:
    """The page, with `figures` (file name -> PNG) inlined and a gallery of `num_clips`."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    plan = results.plan
    outcomes = results.runs.unique("signature")["outcome"].to_list()
    return page.render(
        plan=plan,
        stand_ins=results.stand_ins,
        done=outcomes.count(DONE),
        planned=len(outcomes),
        unplanned=results.unplanned,
        registration=results.registrations[0] if results.registrations else None,
        tasks=[_task(results, task, figures) for task in plan.tasks],
        trials=trials_grid(results.folder),
        ledger=ledger_grid(results.ledger),
        gallery=gallery(results, num_clips),
    )


def _task(results: Results, task: str, figures: Mapping[str, bytes]) -> dict[str, Any]:
    scored, grids = scored_clips(results, task), [grid for _, _, grid in task_tables(results, task)]
    remarks = [line for line in notes(results, task) if not line.startswith("STAND-IN")]
    return {
        "name": task,
        "clips": scored.height,
        "videos": scored["source_video"].n_unique(),
        "grids": grids,
        "figures": [
            (name, data_uri(image, "image/png"), png_width(image) * 2 // 3)
            for name, image in figures.items()
            if name.startswith(f"{task}_")
        ],
        "notes": [*remarks, *(line for grid in grids for line in grid.explanations)],
        "signatures": signature_lines(results, task),
    }


def ledger_grid(ledger: pl.DataFrame) -> Grid | None:
    """Numbers of agreed, constrained and rejected auxiliary answers per instruction; None without any."""
    if ledger.is_empty():
        return None
    rows = []
    for instruction in sorted(set(ledger["instruction"])):
        mine = ledger.filter(pl.col("instruction") == instruction)
        counts = [mine.filter(pl.col("made") == made).height for made in MADE]
        rows.append((instruction, *(f"{count} ({count / mine.height:.0%})" for count in counts), str(mine.height)))
    return Grid("Auxiliary supervision", ("instruction", *MADE, "clips"), tuple(rows))


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


def png_width(image: bytes) -> int:
    """Pixels across, from the PNG's header."""
    return int.from_bytes(image[16:20], "big")


def data_uri(content: bytes, media_type: str) -> str:
    """`content` as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
