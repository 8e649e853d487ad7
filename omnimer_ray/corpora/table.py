"""A plain table of clips: `table:FILE.csv` or `table:FILE.parquet`, one row a clip, with an optional FILE.yaml (table_mapping.py).

Media paths are relative to the table's folder, or to the media folder, or absolute; without a column `video`, files are called like clips.
Without a split, one by source video is made (table_split.py); without source videos, every clip is its own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

from omnimer_ray.corpora.assembly import Annotated, Reading, Release, assemble, check_excluded, check_parts
from omnimer_ray.corpora.clips import LABELLED, Corpus, Split, listed
from omnimer_ray.corpora.files import AUDIO, VIDEO, MediaFolder
from omnimer_ray.corpora.strict import Dialect, Faults, Row, check_id, csv_lines, rows_of, tell_new, unique
from omnimer_ray.corpora.table_mapping import COLUMNS, TableMapping, read_mapping, unknown_words
from omnimer_ray.corpora.table_split import SPLITS, split_by_source_video
from omnimer_ray.errors import CorpusError, near

NEEDED = ("clip", "text")
NO_LABEL = "it has neither a sentiment nor an emotion"
UNKNOWN_VIDEOS = "source videos are not known: every clip counts as its own, so people may be on both sides of the split, and intervals may be too narrow"


def read(path: Path, how: Reading) -> Corpus:
    """The corpus of a table, its clips in the order of the rows. Raises CorpusError with all faults at once."""
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise CorpusError(f"{path} is no .csv and no .parquet file; save the sheet as CSV in UTF-8")
    if not path.is_file():
        beside = [other.name for other in path.parent.glob("*")] if path.parent.is_dir() else []
        raise CorpusError(f"{path.name} is not in {path.parent}; {near(path.name, beside)}")
    mapping = read_mapping(path.with_suffix(".yaml"))

    def reader(folder: Path, media: Path, exclude: frozenset[str], faults: Faults, warnings: list[str]) -> Release:
        return _Table(path.absolute(), mapping, media, faults, warnings).release(exclude)

    return assemble(
        name_of(path), path.parent, reader, how, missing="give the path of a table", way_out=", or correct the paths of the table"
    )


def name_of(path: Path) -> str:
    """The corpus's name: table-STEM, with letters, digits and dashes only."""
    return f"table-{re.sub(r'[^a-z0-9]+', '-', path.stem.casefold()).strip('-') or 'clips'}"


class _Table:
    """One reading of a table."""

    def __init__(self, path: Path, mapping: TableMapping, media: Path, faults: Faults, warnings: list[str]) -> None:
        self.path, self.mapping, self.media, self.faults, self.warnings = path, mapping, media, faults, warnings
        self.nameless: list[str] = []  # clips without a file of their name
        files = sorted(media.iterdir()) if media.is_dir() else []
        self.by_name: dict[tuple[str, str], list[Path]] = defaultdict(list)
        for file in files:
            for kind, endings in (("video", VIDEO), ("audio", AUDIO)):
                if file.suffix.lower() in endings:
                    self.by_name[kind, file.stem].append(file)

    def release(self, exclude: frozenset[str]) -> Release:
        rows = self._rows()
        for row in rows:
            check_id(row, "clip", self.faults)
        named = unique(rows, lambda row: row.values["clip"].strip(), self.faults)
        check_excluded(exclude, set(named), self.path, self.faults)
        named = {name: row for name, row in named.items() if name not in exclude}
        labels, unlabelled = self._labels(named)
        named = {name: row for name, row in named.items() if name not in unlabelled}
        grouped = bool(rows) and "source_video" in rows[0].values
        clips = [self._clip(name, row, labels[name]) for name, row in named.items()]
        if self.nameless:
            self.faults.add(
                f"{self.path.name}: no video in {self.media} is called like a clip for {listed(self.nameless)}; name the folder of the media "
                "with --media, or add a column 'video' with the paths of the files"
            )
        if clips and "split" not in rows[0].values:
            clips = split_by_source_video(self.path, clips, self.mapping, self.faults, self.warnings)
        present = {clip.split for clip in clips}
        reported: Split = "test" if "test" in present else "validation"
        if clips:
            check_parts(clips, ("train", reported), self.faults)
        own: Split | None = "validation" if reported == "test" and "validation" in present else None
        places = {place for clip in clips for place in (*clip.videos, *clip.sounds)}
        files = MediaFolder(sorted(places), beside=self.media)
        return Release(clips, files, reported, own, () if grouped else (UNKNOWN_VIDEOS,), dict.fromkeys(unlabelled, NO_LABEL))

    def _rows(self) -> list[Row]:
        dialect = Dialect(self.mapping.encoding, self.mapping.separator, self._yaml)
        lines = self._parquet() if self.path.suffix.lower() == ".parquet" else csv_lines(self.path, self.faults, dialect)
        if lines is None:
            return []
        theirs = {self.mapping.columns.get(name, name): name for name in COLUMNS}
        header = [theirs.get(name.strip(), name.strip()) for name in lines[0]]
        if "source_video" not in header:
            header = ["source_video" if name == "group" else name for name in header]
        filled = {name for place, name in enumerate(header) if any(line[place].strip() for line in lines[1:] if len(line) == len(header))}
        optional = [name for name in COLUMNS if name in filled and name not in NEEDED]
        missing = [name for name in NEEDED if name not in header]
        for name in missing:
            others = sorted(set(header) - set(COLUMNS))
            self.faults.add(
                f"{self.path.name}, row 1: column {name!r} is missing; if it has another name, write in {self._yaml}: columns: {{{name}: THEIRS}} (theirs: {', '.join(others) or 'none'})"
            )
        if not {"sentiment", "emotion"} & filled:
            self.faults.add(
                f"{self.path.name}: neither 'sentiment' nor 'emotion' holds a label; fill one in, or write in {self._yaml}: columns: {{emotion: THEIRS}}"
            )
        if missing:
            return []
        rows, new = rows_of(self.path.name, header, enumerate(lines[1:], 2), NEEDED, self.faults, optional)
        tell_new(self.path.name, "columns, which are not read", [name for name in new if name not in COLUMNS], self.warnings)
        return rows

    @property
    def _yaml(self) -> str:
        return self.path.with_suffix(".yaml").name

    def _parquet(self) -> list[list[str]] | None:
        import polars as pl

        try:
            frame = pl.read_parquet(self.path)
            text = frame.select(pl.all().cast(pl.String).fill_null(""))
        except (OSError, pl.exceptions.PolarsError) as error:
            self.faults.add(f"{self.path.name}: no readable Parquet table of plain columns ({error}); save it again")
            return None
        return [list(text.columns), *(list(row) for row in text.rows())]

    def _labels(self, rows: Mapping[str, Row]) -> tuple[dict[str, dict[str, str]], tuple[str, ...]]:
        """Labels of each clip, and the clips without a main label, which are left out; unknown words are one fault for each kind."""
        unknown: dict[str, list[str]] = defaultdict(list)
        found: dict[str, dict[str, str]] = {name: {} for name in rows}
        for name, row in rows.items():
            for column in LABELLED:
                if word := row.values.get(column, "").strip():
                    kind = "emotion" if column == "emotion" else "sentiment"
                    label = self.mapping.label(kind, word)
                    if label is None:
                        unknown[kind].append(word)
                    found[name][column] = label or "neutral"
        for kind, words in unknown.items():
            self.faults.add(f"{self.path.name}, {unknown_words(kind, words, self._yaml)}")
        bare = tuple(name for name, labels in found.items() if not {"sentiment", "emotion"} & set(labels))
        if bare and len(bare) < len(rows):
            self.warnings.append(
                f"{len(bare)} clips have neither a sentiment nor an emotion and are left out, as {bare[0]!r} ({rows[bare[0]].place})"
            )
        return found, bare

    def _clip(self, name: str, row: Row, labels: Mapping[str, str]) -> Annotated:
        values = {key: value.strip() for key, value in row.values.items()}
        if not values["text"]:
            self.faults.add(f"{row.where()}: text is empty; give the transcript, or exclude {name}")
        word = values.get("split", "train").casefold()
        if word not in SPLITS:
            self.faults.add(f"{row.where()}: split {values['split']!r} is unknown; {near(word, SPLITS)}")
        group = values.get("source_video") or name
        video, audio = self._media(row, "video"), self._media(row, "audio")
        if not values.get("video", "x"):
            self.faults.add(f"{row.where()}: video is empty, and a video is needed for every clip; name its file, or exclude {name}")
        elif video is None and "video" not in values:
            self.nameless.append(name)
        return Annotated(
            name, group, values.get("topic", ""), SPLITS.get(word, "train"), values["text"], labels, row,
            video.name if video else "", audio.name if audio else "", (video.parent,) if video else (), (audio.parent,) if audio else (),
        )  # fmt: skip

    def _media(self, row: Row, column: str) -> Path | None:
        """The path of a media file; None and a fault if it must not be opened."""
        if column not in row.values:  # then a file called like the clip
            found = self.by_name.get((column, row.values["clip"].strip()), [])
            if len(found) > 1:
                names = " or ".join(repr(file.name) for file in found)
                self.faults.add(f"{row.where()}: the {column} may be {names} in {self.media}; keep one, or add a column {column!r}")
            return found[0] if found else None
        name = row.values[column].strip()
        if not name:
            return None
        if "://" in name or ".." in PureWindowsPath(name).parts or any(ord(character) < 32 for character in name):
            self.faults.add(f"{row.where()}: {column} {name!r} is a URL, or leaves its folder; give the path of a file")
            return None
        return self.media / name.replace("\\", "/")
