"""The settings of a folder's trained runs, from their configs: what all rows share, what they differ in, and where a value comes from."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.folder import DONE, Results
from analysis.render import Grid
from omnimer_ray.config import flat
from omnimer_ray.recipes import GIVEN

ALL, VARIED = "all rows", "varied"
UNITS = ("seed", "task", "corpus.fold", "observed.draw")  # what the units of a row differ in
IDENTITY = ("corpus.", "base.", "method")  # named in every note
COMMON = ("train_fraction", "class_balance", "observed.")  # settings of every method
HEADINGS = ("setting", "value", "rows", "source")
SETTINGS_NOTE = "Of the trained runs. source: the paper's value, the paper's where it is another one, assumed if the paper names none; varied: rows differ in it."


def settings_schema() -> dict[str, Any]:
    """Columns: a value of a setting, the rows that have it, and where it comes from."""
    return {"setting": pl.String, "value": pl.String, "rows": pl.String, "source": pl.String}


def settings_table(results: Results) -> pl.DataFrame:
    """A line per setting and value; empty without a finished training."""
    done = results.runs.filter((pl.col("outcome") == DONE) & (pl.col("num_steps") > 0)).unique("variant", maintain_order=True)
    configs = {variant: _settings(results.settings(signature)) for variant, signature in done.select("variant", "signature").iter_rows()}
    names = dict.fromkeys(name for config in configs.values() for name in config)
    rows = []
    for name in sorted(names):
        if name in UNITS or name.startswith(IDENTITY):
            continue
        by_value: dict[str, list[str]] = {}
        for variant, config in configs.items():
            if name in config:
                by_value.setdefault(_plain(config[name]), []).append(variant)
        for value, variants in by_value.items():
            source = VARIED if len(by_value) > 1 and name not in GIVEN else _source(name, value)
            rows.append(
                {
                    "setting": name,
                    "value": value,
                    "rows": ALL if len(variants) == len(configs) else ", ".join(variants),
                    "source": source,
                }
            )
    return pl.DataFrame(rows, schema=settings_schema())


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """Settings by dotted name; those of a method beside the Thinker begin with its name, if they are not settings of every run."""
    method = config.get("method", "thinker")
    every = (*UNITS, *IDENTITY, *COMMON)
    return {name if method == "thinker" or name.startswith(every) else f"{method}.{name}": value for name, value in flat(config).items()}


def settings_grid(results: Results) -> Grid | None:
    """The settings as printed; None without a finished training."""
    table = settings_table(results)
    return None if table.is_empty() else Grid("Settings", HEADINGS, tuple(table.iter_rows()), (SETTINGS_NOTE,))


def settings_line(results: Results) -> str:
    """For notes: the settings that the paper names, and how many are assumed; empty without a finished training."""
    table = settings_table(results)
    if table.is_empty():
        return ""
    named = table.filter(pl.col("setting").is_in(list(GIVEN)))
    values = ", ".join(f"{setting} {value} ({source})" for setting, value, _, source in named.iter_rows()) or "none of these rows has one"
    assumed = table.filter(pl.col("source") == "assumed")["setting"].n_unique()
    return f"Settings that the paper names: {values}; {assumed} others are assumed, see the table of settings."


def _source(name: str, value: str) -> str:
    if name not in GIVEN:
        return "assumed"
    theirs = _plain(GIVEN[name])
    return "paper" if theirs == value else f"paper: {theirs}"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
