"""A results folder's records -> its tables, figures and report, written beside them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from analysis.figures import figures
from analysis.folder import load
from analysis.report import report
from analysis.search_table import search_pages
from analysis.sweep_tables import tables
from omnimer_ray.records import write_atomically


def write_all(folder: str | Path) -> list[Path]:
    """Rebuild `tables/`, `figures/` and `report.html` from the records; returns the files, report last."""
    results = load(folder)
    texts = {**tables(results), **search_pages(results.folder)}
    pages = {results.folder / "tables" / name: text for name, text in texts.items()}
    images = {results.folder / "figures" / name: image for name, image in figures(results).items()}
    pages[results.folder / "report.html"] = report(results, {path.name: image for path, image in images.items()})
    contents = {**images, **{path: text.encode() for path, text in pages.items()}}
    for path, content in contents.items():
        write_atomically(path, partial(Path.write_bytes, data=content))
    return list(contents)
