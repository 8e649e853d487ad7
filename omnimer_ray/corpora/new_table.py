"""A first table of a folder of media: clips.csv to fill in, and clips.yaml that explains each setting of the mapping."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from omnimer_ray.corpora.clips import EMOTIONS, SENTIMENTS
from omnimer_ray.corpora.files import AUDIO, VIDEO
from omnimer_ray.corpora.table_mapping import COLUMNS
from omnimer_ray.errors import ConfigError
from omnimer_ray.records import write_atomically

MAPPING = f"""# What the columns and words of clips.csv mean. A line that starts with # has no effect; take the # away to use it.

# columns:                 # our name: yours. Known names: {", ".join(COLUMNS)}
#   text: Transcript
#   source_video: Episode  # clips of one recording or person: they stay together in train or in validation

# labels:                  # your word: our label. English, Indonesian and Chinese words are known
#   sentiment: {{bad: negative, mixed: neutral, good: positive}}   # ours: {", ".join(SENTIMENTS)}
#   emotion: {{furious: anger}}   # ours: {", ".join(EMOTIONS)}

# thresholds: {{negative: -0.1, positive: 0.1}}   # sentiment from numbers: below, above; between is neutral

# separator: ";"           # of the CSV file, if it is not a comma
# encoding: cp1252         # of the CSV file, if it is not UTF-8

# split_seed: 0            # a table without a filled column `split` is split by source video, once
# validation_share: 0.2    # of the source videos
"""


def make(folder: Path) -> list[str]:
    """Write clips.csv and clips.yaml; return what to do next, line by line. Raises ConfigError if a file exists, or without media."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; give the folder of your media files")
    table, mapping = folder / "clips.csv", folder / "clips.yaml"
    for path in (table, mapping):
        if path.exists():
            raise ConfigError(f"{path} exists, and is not overwritten; remove it, or use it:  {_check(table)}")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    sounds = {path.with_suffix(""): path for path in files if path.suffix.lower() in AUDIO}
    videos = [path for path in files if path.suffix.lower() in VIDEO]
    if not videos:
        raise ConfigError(f"{folder} has no video; known endings: {', '.join(VIDEO)}")
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for video in videos:
        writer.writerow(_row(video, sounds.get(video.with_suffix("")), folder))
    write_atomically(table, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8-sig"))  # Excel needs the mark
    write_atomically(mapping, lambda temporary: temporary.write_text(MAPPING, encoding="utf-8"))
    told = sum(video.with_suffix(".txt").is_file() for video in videos)
    return [
        f"{table}: {len(videos)} clips, {told} with a transcript from a .txt file",
        "fill in, for every clip: text, and sentiment or emotion",
        "fill in, if you can: source_video (what must not be on both sides of the split), text_sentiment, audio_sentiment and video_sentiment",
        f"names of columns, words of labels, separator and encoding are explained in {mapping}",
        f"then:  {_check(table)}",
        f"       python -m omnimer_ray.sweep ablations --corpus table:{table} --dry-run",
    ]


def _check(table: Path) -> str:
    return f"python -m omnimer_ray.corpora check table:{table}"


def _row(video: Path, sound: Path | None, folder: Path) -> dict[str, str]:
    beside = video.with_suffix(".txt")
    return {
        "clip": "_".join(video.relative_to(folder).with_suffix("").parts),
        "video": video.relative_to(folder).as_posix(),
        "audio": sound.relative_to(folder).as_posix() if sound else "",
        "text": " ".join(beside.read_text(encoding="utf-8", errors="replace").split()) if beside.is_file() else "",
    }
