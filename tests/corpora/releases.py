"""A small recipe, and ways to read and to spoil a release made from it."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omnimer_ray.corpora import indomer
from omnimer_ray.corpora.assembly import Reading
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.corpora.generated.recipe import MiniRecipe, SplitSize
from omnimer_ray.media.lengths import probe_clips

SMALL = MiniRecipe(train=SplitSize(num_clips=14, num_videos=4), validation=SplitSize(num_clips=10, num_videos=5))
TRAIN3, VAL3 = "3_Class/3_class_train.json", "3_Class/3_class_val.json"
TRAIN7 = "7_Class/7_class_train.json"
CSV = "Annotations.csv"


def read(folder: Path, **options: Any) -> Corpus:
    return indomer.read(folder, Reading(cache=folder.parent / "cache", **options))


def remarks(folder: Path) -> list[str]:
    """Return the warnings about a release, and what is suspicious about its media."""
    corpus = read(folder)
    found = probe_clips(corpus.clips, lambda line: None)
    assert found.wrong == []
    return [*corpus.warnings, *found.suspicious]


def edit_csv(folder: Path, change: Callable[[list[list[str]]], object]) -> None:
    """Change the rows, the header among them, in place."""
    rows = list(csv.reader(io.StringIO((folder / CSV).read_text(encoding="utf-8"), newline="")))
    change(rows)
    with (folder / CSV).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def edit_json(folder: Path, name: str, change: Callable[[list[dict[str, Any]]], object]) -> None:
    entries = json.loads((folder / name).read_text(encoding="utf-8"))
    change(entries)
    (folder / name).write_text(json.dumps(entries), encoding="utf-8")


def write(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)


def set_cell(row: int, column: int, value: str) -> Callable[[Path], None]:
    """A cell of Annotations.csv; `row` as the errors count them."""
    return lambda folder: edit_csv(folder, lambda rows: rows[row - 1].__setitem__(column, value))


def set_key(name: str, entry: int, key: str, value: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder, name, lambda entries: entries[entry - 1].__setitem__(key, value))
