"""The split of a table that has none: by source video, made once from a seed and written to FILE.split.csv beside the table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omnimer_ray.corpora.assembly import Annotated
from omnimer_ray.corpora.clips import LABELLED, Clip, Split
from omnimer_ray.corpora.select import development_splits
from omnimer_ray.corpora.strict import Faults, csv_lines, rows_of
from omnimer_ray.corpora.table_mapping import TableMapping
from omnimer_ray.errors import ConfigError, StorageError
from omnimer_ray.records import write_atomically

SPLITS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    "test": "test",
}  # words of a column `split`


def split_by_source_video(
    table: Path, clips: Sequence[Annotated], mapping: TableMapping, faults: Faults, warnings: list[str]
) -> list[Annotated]:
    """The clips with the split that is written down, or with one that is made and written now."""
    path = table.with_name(f"{table.stem}.split.csv")
    splits = _written(path, table, clips, faults) if path.exists() else _made(path, table, clips, mapping, faults, warnings)
    return [clip._replace(split=splits.get(clip.id, "train")) for clip in clips]


def _written(path: Path, table: Path, clips: Sequence[Annotated], faults: Faults) -> dict[str, Split]:
    lines = csv_lines(path, faults) or [[]]
    rows, _ = rows_of(path.name, lines[0], enumerate(lines[1:], 2), ("clip", "split"), faults)
    found = {row.values["clip"]: SPLITS[row.values["split"]] for row in rows if row.values["split"] in SPLITS}
    if absent := [clip.id for clip in clips if clip.id not in found]:
        faults.add(
            f"{path.name}: {len(absent)} clips of {table.name} have no part in it, as {absent[0]!r}; add them, or remove the file for a new split"
        )
    return found


def _made(
    path: Path, table: Path, clips: Sequence[Annotated], mapping: TableMapping, faults: Faults, warnings: list[str]
) -> dict[str, Split]:
    parts, seed = max(2, round(1 / mapping.validation_share)), mapping.split_seed
    try:
        chosen = development_splits([_plain(clip, f"{seed}|{clip.source_video}") for clip in clips], parts)
    except ConfigError:
        faults.add(
            f"{table.name}: a split of {parts} parts needs as many source videos; add clips, a column 'split', or a larger validation_share"
        )
        return {}
    made: dict[str, Split] = {clip.id: "validation" if clip.split == "development" else "train" for clip in chosen}
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("clip", "split"), *made.items()])
    try:
        write_atomically(path, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8"))
        warnings.append(f"the table has no split; one by source video was made from seed {seed} and written to {path.name}")
    except StorageError as error:
        warnings.append(f"the table has no split; the one made from seed {seed} is not written down: {error}")
    return made


def _plain(clip: Annotated, source_video: str) -> Clip:
    labels: dict[str, Any] = {name: clip.labels.get(name) for name in LABELLED}
    return Clip(clip.id, source_video, clip.topic, "train", clip.text, **labels, video_path=None, audio_path=None)
