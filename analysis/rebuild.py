"""A results folder's records -> its tables, figures and report, written beside them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from analysis.figures import figures
from analysis.folder import Results, load
from analysis.report import report
from analysis.search_table import search_pages
from analysis.sweep_tables import cost_pages, tables
from omnimer_ray.records import write_atomically


def write_tables(folder: str | Path) -> list[Path]:
    """Rebuild `tables/` and `costs/` alone; returns the files."""
    pages = table_pages(load(folder))
    for path, text in pages.items():
        write_atomically(path, partial(Path.write_text, data=text, encoding="utf-8"))
    return list(pages)


def table_pages(results: Results) -> dict[Path, str]:
    """Path -> text; costs lie apart, because they belong to the machines."""
    texts = {"tables": {**tables(results), **search_pages(results.folder)}, "costs": cost_pages(results)}
    return {results.folder / kind / name: text for kind, pages in texts.items() for name, text in pages.items()}


def write_all(folder: str | Path) -> list[Path]:
    """Rebuild `tables/`, `costs/`, `figures/` and `report.html` from the records; returns the files, report last."""
    results = load(folder)
    pages = table_pages(results)
    images = {results.folder / "figures" / name: image for name, image in figures(results).items()}
    pages[results.folder / "report.html"] = report(results, {path.name: image for path, image in images.items()})
    contents = {**images, **{path: text.encode() for path, text in pages.items()}}
    for path, content in contents.items():
        write_atomically(path, partial(Path.write_bytes, data=content))
    return list(contents)
