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
def power(corpus: Shaped, seeds: Seeds = 1, folds: Folds = None) -> None:
    """Print the differences that a table of this corpus can find with a probability of 80 %, by simulation at its labels."""
    from analysis.power import power_lines
    from analysis.shapes import read_shape

    with _errors():
        for line in power_lines(read_shape(corpus), seeds, folds, _log):
            print(line)


@app.command()
def calibrate(
    corpus: Shaped,
    seeds: Seeds = 3,
    folds: Folds = None,
    tables: Annotated[int, typer.Option(help="Simulated tables; 10,000 give rates within .5 points.", min=20)] = 1000,
) -> None:
    """Print how often intervals hold the truth, and how often tests find a difference where there is none, by simulation at this corpus's labels."""
    from analysis.calibration import calibrate as measure
    from analysis.power import rate_lines
    from analysis.shapes import read_shape

    with _errors():
        shape = read_shape(corpus)
        for task in shape.tasks:
            cell, design = shape.cell(task, seeds, folds)
            for line in rate_lines(cell, design, measure(cell, design, tables, _log)):
                print(line)


@app.command()
def audit_paper() -> None:
    """Check the published tables of OmniMER against themselves: averages, possible counts of answers, and what the gains rest on."""
    from analysis.audit import read_paper, report_lines

    for line in report_lines(read_paper()):
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
