"""`python -m analysis FOLDER`: rebuild the tables, the figures and the report of a results folder from its records."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from omnimer_ray.errors import OmniMERError

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)  # without rich, help is instant


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="A results folder: results/<space>/<corpus>-<base>.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the files alone, not the tables.")] = False,
    mlflow: Annotated[str | None, typer.Option(help="Write the finished runs into this MLflow store too, as sqlite:///mlflow.db.")] = None,
) -> None:
    """Rebuild the tables, the figures and the report of a results folder from its records."""
    from analysis import load, terminal_tables, write_all
    from analysis.mlflow_store import write_store

    try:
        if mlflow is not None:
            written = write_store(load(folder), mlflow)
        files = write_all(folder)
        if not quiet:
            print(terminal_tables(folder), end="\n\n")
    except OmniMERError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    for file in files:
        print(file)
    if mlflow is not None:
        print(f"{written} runs written into {mlflow}; look at them with:  mlflow ui --backend-store-uri {mlflow}")


if __name__ == "__main__":
    app(prog_name="python -m analysis")
