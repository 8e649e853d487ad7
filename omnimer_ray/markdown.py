"""Text as Markdown: tables, escaped text, and code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool) -> str:
    """Return a table of cells that are Markdown already; with `numbers` all columns but the first are aligned to the right."""
    rule = [":--", *(["--:" if numbers else ":--"] * (len(headings) - 1))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (headings, rule, *rows))


def cell(text: str) -> str:
    """Markdown in one line that ends no table cell."""
    return one_line(text).replace("|", "\\|")


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line and one table cell."""
    for sign in "\\|`*_<>[]":
        text = text.replace(sign, "\\" + sign)
    return one_line(text)


def code(text: str) -> str:
    """Text in one line as code, behind a fence that it does not hold."""
    fence = "`" * (max(map(len, "".join(sign if sign == "`" else " " for sign in text).split()), default=0) + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{one_line(text)}{pad}{fence}"


def one_line(text: str) -> str:
    """Text with every white space a single space."""
    return " ".join(text.split())
