"""A blind human rating of explanations: a CSV form whose key stands in another file, and its reader."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omnimer_ray.config import AUXILIARY_OF, content_hash
from omnimer_ray.errors import ConfigError
from omnimer_ray.outputs.yields import Built, accepted, fields
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.records import read_json, write_atomically, write_json

COLUMNS = ("item", "modality", "clip", "media", "transcript", "label", "explanation", "rating", "comment")
POOLS = ("agreed", "constrained")
SCALE = range(1, 6)
RESAMPLES = 5000


class Rated(NamedTuple):
    """A rated explanation."""

    modality: str
    made: str
    rating: int


def write_form(sweep: Sweep, path: Path, items: int) -> list[str]:
    """Write the form and, beside it, its key; returns lines about both."""
    parts = accepted(sweep)
    if twice := [one.part.kind for one in parts if [other.part.kind for other in parts].count(one.part.kind) > 1]:
        raise ConfigError(
            f"the search space {sweep.file.name} has several ledgers of {twice[0]}; name one with a single setting of supervision"
        )
    clips = {clip.id: clip for clip in sweep.corpus.clips}
    rows: list[dict[str, str]] = []
    key: dict[str, dict[str, str]] = {}
    lines = []
    for one in parts:
        modality = AUXILIARY_OF[one.part.kind].modality
        chosen = _chosen(one, items)
        lines.append(f"{modality}: " + ", ".join(f"{sum(entry['made'] == pool for entry in chosen)} {pool}" for pool in POOLS))
        for entry in chosen:
            clip, item = clips[entry["clip"]], content_hash([one.part.key, entry["clip"]])
            media = {"text": None, "video": clip.video_path, "audio": clip.audio_path or clip.video_path}[modality]
            texts = (item, modality, clip.id, str(media or ""), clip.text if modality == "text" else "", entry["gold"])
            rows.append(dict(zip(COLUMNS, map(_cell, (*texts, fields(entry)["explanation"], "", "")), strict=True)))
            key[item] = {"clip": clip.id, "modality": modality, "made": entry["made"], "ledger": one.part.key}
    rows.sort(key=lambda row: row["item"])
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, lambda temporary: temporary.write_text("\ufeff" + text.getvalue(), encoding="utf-8", newline=""))
    write_json(key_of(path), key)
    about = f"{path}: fill in `rating`, {SCALE[0]} (says nothing about the clip, or what is not there) to {SCALE[-1]} (all of it can be seen or heard)"
    return [
        *lines,
        about,
        f"{key_of(path)}: which were written without the label; keep it from the raters",
        *(f"STAND-IN: {notice}" for notice in sweep.stand_ins),
    ]


def read_form(path: Path) -> list[str]:
    """Lines with the mean ratings of a filled-in form. Raises ConfigError with every fault of the form at once."""
    rated, blank = _ratings(path)
    lines = [f"{len(rated)} rated, {blank} left blank"]
    for modality in ("text", "video", "audio"):
        groups = [[one.rating for one in rated if (one.modality, one.made) == (modality, pool)] for pool in POOLS]
        means = [f"{pool} {sum(group) / len(group):.2f} (n = {len(group)})" for pool, group in zip(POOLS, groups, strict=True) if group]
        if means:
            lines.append(f"{modality:6} {', '.join(means)}{_difference(*groups)}")
    return lines


def key_of(path: Path) -> Path:
    """The file with the key of a form."""
    return path.with_suffix(".key.json")


def _chosen(one: Built, items: int) -> list[dict[str, Any]]:
    """Half of them agreed and half constrained, drawn by hash; a pool that is too small is filled up from the other."""
    pools = [sorted((e for e in one.entries.values() if e["made"] == pool), key=lambda e: _rank(one, str(e["clip"]))) for pool in POOLS]
    first = [max(items // 2, items - len(pools[1])), max(items - items // 2, items - len(pools[0]))]
    return [entry for pool, count in zip(pools, first, strict=True) for entry in pool[:count]]


def _rank(one: Built, clip: str) -> bytes:
    return hashlib.sha256(f"rating|{one.part.key}|{clip}".encode()).digest()


def _cell(text: str) -> str:
    """Text that a spreadsheet takes for text, not for a formula."""
    return f" {text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def _ratings(path: Path) -> tuple[list[Rated], int]:
    key = read_json(key_of(path)) if key_of(path).exists() else None
    if not path.is_file() or not isinstance(key, dict):
        raise ConfigError(f"a form and its key are needed: {path} and {key_of(path)}; python -m omnimer_ray.supervision rate writes both")
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} is no CSV file in UTF-8: {error}") from None
    if not rows or not {"item", "rating"} <= set(rows[0]):
        raise ConfigError(f"{path} needs the columns item and rating, separated by commas")
    faults, seen, rated, blank = list[str](), set[str](), list[Rated](), 0
    for line, row in enumerate(rows, 2):
        item, text = str(row["item"]).strip(), str(row["rating"] or "").strip()
        if item not in key:
            faults.append(f"row {line}: item {item!r} is not in the key")
        elif item in seen:
            faults.append(f"row {line}: item {item!r} occurs twice")
        elif text and text not in map(str, SCALE):
            faults.append(f"row {line}: rating {text!r} is no whole number from {SCALE[0]} to {SCALE[-1]}")
        elif text:
            rated.append(Rated(key[item]["modality"], key[item]["made"], int(text)))
        else:
            blank += 1
        seen.add(item)
    if faults:
        raise ConfigError(f"{path}: " + "; ".join(faults))
    return rated, blank


def _difference(agreed: Sequence[int], constrained: Sequence[int]) -> str:
    """The difference of two means with a bootstrap interval; empty if a group has fewer than two ratings."""
    if min(len(agreed), len(constrained)) < 2:
        return ""
    import numpy as np
    from scipy.stats import bootstrap

    def difference(one: Any, other: Any, axis: int = -1) -> Any:
        return np.mean(one, axis=axis) - np.mean(other, axis=axis)

    drawn = bootstrap((agreed, constrained), difference, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    low, high = drawn.confidence_interval
    return f"; agreed - constrained {difference(agreed, constrained):+.2f}, 95 % interval {low:+.2f} to {high:+.2f}"
