"""Annotation files read without trust: text, CSV and JSON; every fault is collected with its file and row, nothing is guessed."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from omnimer_ray.errors import CorpusError, near

LONGEST_FIELD = 100_000  # characters; a longer one is a damaged quote, not a transcript


_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"(lp", b"(dp", b"]q\0", b"}q\0", b"ccopy_reg")  # protocols 2-5, 0, 1


class Row(NamedTuple):
    """One annotated clip of one file: `place` is 'row 12' (the header is row 1) or 'entry 12'."""

    file: str
    place: str
    values: dict[str, str]

    def where(self) -> str:
        """File and row, for the beginning of an error."""
        return f"{self.file}, {self.place}"


class Faults:
    """All faults of a corpus, raised together."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        """Add one fault: file and row, value, way out."""
        self.lines.append(line)

    def raise_any(self, what: str) -> None:
        """Raise CorpusError with every fault, one per line; nothing if there is none."""
        if self.lines:
            lines = list(dict.fromkeys(self.lines))
            raise CorpusError(f"{what}: {len(lines)} fault{'s' if len(lines) > 1 else ''}\n" + "\n".join(f"- {line}" for line in lines))


def csv_rows(path: Path, columns: Iterable[str], faults: Faults) -> tuple[list[Row], list[str]]:
    """The rows with exactly `columns`, and the names of further columns (new in this release)."""
    lines = csv_lines(path, faults)
    return ([], []) if lines is None else rows_of(path.name, lines[0], enumerate(lines[1:], 2), columns, faults)


class Dialect(NamedTuple):
    """How a CSV file is written; `mapping` is the file in which a person can say so, if there is one."""

    encoding: str = "utf-8-sig"
    separator: str = ","
    mapping: str | None = None


def csv_lines(path: Path, faults: Faults, dialect: Dialect = Dialect()) -> list[list[str]] | None:  # noqa: B008 - immutable
    """The lines of a CSV file as they are, the header among them; None and a fault if it is none. A first line is always there."""
    separator, text = dialect.separator, _text(path, faults, dialect)
    if text is None:
        return None
    try:
        lines = list(_csv_lines(text, separator))
    except csv.Error as error:
        faults.add(f"{path.name}: no readable CSV ({error}); mend its quotes, or fetch the file again")
        return None
    first = lines[0] if lines else []
    if len(first) == 1 and (other := next((mark for mark in ";\t|" if mark in first[0] and mark != separator), None)):
        way_out = f", or write in {dialect.mapping}: separator: {other!r}" if dialect.mapping else ""
        faults.add(
            f"{path.name}, row 1: fields are separated by {other!r}, not by {separator!r}; save the file with {separator!r}{way_out}"
        )
        return None
    return lines or [[]]


def rows_of(
    file: str,
    header: list[str],
    body: Iterable[tuple[int, list[str]]],
    columns: Iterable[str],
    faults: Faults,
    optional: Iterable[str] = (),
) -> tuple[list[Row], list[str]]:
    """Rows of numbered lines under a header, and the names of columns that are in neither list."""
    columns = list(columns)
    if not _header_fits(file, header, columns, faults):
        return [], []
    read = [*columns, *(name for name in optional if name in header)]
    rows = []
    for number, line in body:
        if len(line) == len(header):
            values = dict(zip(header, line, strict=True))
            rows.append(Row(file, f"row {number}", {name: values[name] for name in read}))
        elif line:
            faults.add(f"{file}, row {number}: {len(line)} fields where the header has {len(header)}; quote texts that hold commas")
    if not rows:
        faults.add(f"{file}: no clips; fetch the file again")
    return rows, [name for name in header if name not in read]


_MANGLED = re.compile(r"[0-9](\.[0-9]+)?E\+?[0-9]+", re.IGNORECASE)


def check_id(row: Row, column: str, faults: Faults) -> bool:
    """Add a fault for an id that is empty, or that a spreadsheet program rewrote as a number; returns whether it did."""
    name, before = row.values[column], len(faults.lines)
    if not name.strip():
        faults.add(f"{row.where()}: {column!r} is empty; give every clip an id")
    elif _MANGLED.fullmatch(name.strip()):
        faults.add(
            f"{row.where()}: {column} {name!r} is a number that a spreadsheet program rewrote; format the column as text, and write the id again"
        )
    return len(faults.lines) > before


def json_rows(path: Path, keys: Iterable[str], faults: Faults) -> tuple[list[Row], list[str]]:
    """The entries of a JSON list of objects with exactly `keys`, all texts, and the names of further keys."""
    text = _text(path, faults)
    name = f"{path.parent.name}/{path.name}"
    if text is None:
        return [], []
    try:
        entries = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except RecursionError:
        faults.add(f"{name}: nested too deeply to be a list of clips; fetch the file again")
        return [], []
    except ValueError as error:
        faults.add(f"{name}: no valid JSON ({error}); mend it, or fetch the file again")
        return [], []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        faults.add(f"{name}: must be a list of objects, one per clip; it is {_kind(entries)}")
        return [], []
    keys = list(keys)
    rows = [row for number, entry in enumerate(entries, 1) if (row := _entry(name, number, entry, keys, faults)) is not None]
    if not entries:
        faults.add(f"{name}: no clips; fetch the file again")
    return rows, sorted({key for entry in entries for key in entry} - set(keys))


def mapped(row: Row, column: str, words: dict[str, str], faults: Faults) -> str | None:
    """The canonical label of a row's word; None and a fault if it is unknown."""
    word = row.values[column]
    if word not in words:
        faults.add(f"{row.where()}: unknown label {word!r} in {column!r}; {near(word, words)}")
    return words.get(word)


def tell_new(where: str, what: str, new: Iterable[str], warnings: list[str]) -> None:
    """Add a warning about columns, keys or files that a reader does not know."""
    if new := list(new):
        warnings.append(f"{where}: new {what}: {', '.join(new)}")


def unique(rows: Iterable[Row], key: Callable[[Row], str], faults: Faults) -> dict[str, Row]:
    """Rows by id; a second row with the same id is a fault."""
    found: dict[str, Row] = {}
    for row in rows:
        if (first := found.setdefault(key(row), row)) is not row:
            faults.add(f"{row.where()}: {key(row)!r} is in {first.place} already; keep one of the two")
    return found


def _text(path: Path, faults: Faults, dialect: Dialect = Dialect()) -> str | None:  # noqa: B008 - immutable
    """The text of a file, UTF-8 unless another encoding is given (a byte order mark is allowed); None and a fault if it is anything else."""
    if not path.is_file():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        faults.add(f"{path.name}: {'no file' if path.exists() else 'missing'} in {path.parent}; {near(path.name, beside)}")
        return None
    data = path.read_bytes()
    if fault := _no_text(data):
        faults.add(f"{path.name}: {fault}")
        return None
    try:
        return data.decode(dialect.encoding)
    except UnicodeDecodeError as error:
        row, byte = data.count(b"\n", 0, error.start) + 1, data[error.start : error.start + 1]
        known = "UTF-8" if dialect.encoding == "utf-8-sig" else dialect.encoding
        way_out = f", or name its encoding in {dialect.mapping}, as: encoding: cp1252" if dialect.mapping else ""
        faults.add(f"{path.name}, line {row}: byte {byte!r} is no {known}; save the file as UTF-8{way_out}")
        return None


def _no_text(data: bytes) -> str | None:
    """Reason why these bytes are no annotations, if their beginning shows one."""
    if not data.strip():
        return "empty; fetch the file again"
    if data.startswith(_PICKLES):
        return "a Python pickle, which can run code when loaded; annotations must be CSV and JSON text"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:1000]:
        return "UTF-16 or binary, not UTF-8; save the file as UTF-8"
    if data.lstrip()[:15].lower().startswith((b"<!doctype", b"<html")):
        return "an HTML page, not annotations; download the file itself"
    return None


def _csv_lines(text: str, separator: str) -> Iterable[list[str]]:
    previous = csv.field_size_limit(LONGEST_FIELD)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    finally:
        csv.field_size_limit(previous)


def _header_fits(file: str, header: list[str], columns: list[str], faults: Faults) -> bool:
    twice = [name for name, count in Counter(header).items() if count > 1]
    for name in twice:
        faults.add(f"{file}, row 1: column {name!r} is there twice; keep one")
    missing = [name for name in columns if name not in header]
    for name in missing:
        faults.add(f"{file}, row 1: column {name!r} is missing; {near(name, set(header) - set(columns))}")
    return not twice and not missing


def _entry(name: str, number: int, entry: dict[str, Any], keys: list[str], faults: Faults) -> Row | None:
    who = entry.get("sample_id")
    place = f"entry {number}" + (f" ({who})" if isinstance(who, str) else "")
    missing = [key for key in keys if key not in entry]
    for key in missing:
        faults.add(f"{name}, {place}: key {key!r} is missing; {near(key, set(entry) - set(keys))}")
    wrong = [key for key in keys if key in entry and not isinstance(entry[key], str)]
    for key in wrong:
        faults.add(f"{name}, {place}: {key!r} must be text; it is {_kind(entry[key])}")
    broken = [
        key for key in keys if isinstance(value := entry.get(key), str) and any("\ud800" <= character <= "\udfff" for character in value)
    ]
    for key in broken:
        faults.add(f"{name}, {place}: {key!r} holds half a character ({entry[key]!a:.60}); write it again as UTF-8")
    return None if missing or wrong or broken else Row(name, place, {key: entry[key] for key in keys})


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"key {twice[0]!r} occurs twice in one object, near {str(dict(pairs))[:80]}")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}.get(type(value), "a number")
