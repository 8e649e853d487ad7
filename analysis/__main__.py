"""`python -m analysis FOLDER`: rebuild the tables, the figures and the report of a results folder from its records; and what else needs no model."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from omnimer_ray.errors import OmniMERError

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,  # without rich, help is instant
    pretty_exceptions_enable=False,
    help="Tables, figures, reports and statistics from records. `python -m analysis FOLDER` is `python -m analysis report FOLDER`.",
)
Folder = Annotated[Path, typer.Argument(help="A results folder: results/<space>/<corpus>-<base>.")]
Shaped = Annotated[Path, typer.Argument(help="A results folder, or a clips.csv that `python -m omnimer_ray.corpora export` wrote.")]
Seeds = Annotated[int, typer.Option(help="Seeds of each row.", min=1)]
Folds = Annotated[int | None, typer.Option(help="Folds by source video instead of the corpus's split.", min=2)]


@app.command()
def report(
    folder: Folder,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the files alone, not the tables.")] = False,
    mlflow: Annotated[str | None, typer.Option(help="Write the finished runs into this MLflow store too, as sqlite:///mlflow.db.")] = None,
) -> None:
    """Rebuild the tables, the figures and the report of a results folder from its records."""
    from analysis import load, terminal_tables, write_all
    from analysis.mlflow_store import write_store

    with _errors():
        if mlflow is not None:
            written = write_store(load(folder), mlflow)
        files = write_all(folder)
        if not quiet:
            print(terminal_tables(folder), end="\n\n")
    for file in files:
        print(file)
    if mlflow is not None:
        print(f"{written} runs written into {mlflow}; look at them with:  mlflow ui --backend-store-uri {mlflow}")


@app.command()
def tables(folder: Folder) -> None:
    """Rebuild the tables alone, in Markdown, LaTeX, HTML and CSV, and print them."""
    from analysis import terminal_tables, write_tables

    with _errors():
        files = write_tables(folder)
        print(terminal_tables(folder), end="\n\n")
    for file in files:
        print(file)


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Results folders of one corpus and base.")],
    into: Annotated[Path, typer.Option(help="A new folder for the merged results.")],
) -> None:
    """Put results folders together: the halves of one sweep, or sweeps to compare. Records travel, media do not."""
    from analysis.merge import merge as put_together

    with _errors():
        found = put_together(folders, into)
    for signature in found.twice:
        print(f"run {signature} was finished in several folders with different answers; the first folder's are kept")
    print(f"{found.runs} runs in {into}; tables and report:  python -m analysis {into}")


@app.command()
def example(
    into: Annotated[Path, typer.Option(help="A new folder.")] = Path("results/example"),
) -> None:
    """Write the records of a finished sweep that come with the package, with their tables and report. STAND-IN numbers: generated clips, a tiny model."""
    from analysis import write_all
    from analysis.example import unpack

    with _errors():
        *_, page = write_all(unpack(into))
    print(f"{page}\nnotebooks on it:  jupytext --to ipynb {Path(__file__).parent / 'notebooks'}/*.py  and open them in {Path.cwd()}")


@app.command()
def power(corpus: Shaped, seeds: Seeds = 1, folds: Folds = None) -> None:
    """Print the differences that a table of this corpus can find with a probability of 80 %, by simulation at its labels."""
    from analysis.power import power_lines
    from analysis.shapes import read_shape

    with _errors():
        for line in power_lines(read_shape(corpus), seeds, folds, _log, classes=True):
            print(line)


@app.command()
def calibrate(
    corpus: Shaped,
    seeds: Seeds = 3,
    folds: Folds = None,
    tables: Annotated[int, typer.Option(help="Simulated tables; 10,000 give rates within .5 points.", min=20)] = 1000,
    row: Annotated[
        str | None, typer.Option(help="Split this row's real seeds in two instead of simulating; needs a results folder.")
    ] = None,
) -> None:
    """Print how often intervals hold the truth, and how often tests find a difference where there is none, by simulation at this corpus's labels."""
    from analysis import load
    from analysis.calibration import calibrate as measure
    from analysis.nulls import real_null
    from analysis.power import null_lines, rate_lines
    from analysis.shapes import read_shape

    with _errors():
        if row is not None:
            for line in null_lines(real_null(load(corpus), row)):
                print(line)
            return
        shape = read_shape(corpus)
        for task in shape.tasks:
            cell, design = shape.cell(task, seeds, folds)
            for line in rate_lines(cell, design, measure(cell, design, tables, _log)):
                print(line)


@app.command()
def audit_paper(
    table: Annotated[
        Path | None, typer.Argument(help="Instead of the paper: a results folder, or a CSV with a line per row and class.")
    ] = None,
) -> None:
    """Check published tables against themselves, by default those of OmniMER: averages, possible counts of answers, what the gains rest on; and its claims."""
    from analysis import load
    from analysis.audit import of_results, read_csv, read_paper, report_lines
    from analysis.claims import paper_lines

    with _errors():
        if table is None:
            lines = [*report_lines(read_paper()), *paper_lines()]
        else:
            papers = of_results(load(table)) if table.is_dir() else [read_csv(table)]
            lines = [line for paper in papers for line in report_lines(paper)]
        for line in lines:
            print(line)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except OmniMERError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> None:
    """Run a command; a folder alone is reported."""
    named = {command.callback.__name__.replace("_", "-") for command in app.registered_commands if command.callback}
    report_it = arguments and arguments[0] not in {*named, "--help"}
    app(args=["report", *arguments] if report_it else arguments or ["--help"], prog_name="python -m analysis")


if __name__ == "__main__":
    main(sys.argv[1:])
