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
) -> None:
    """Rebuild the tables, the figures and the report of a results folder from its records."""
    from analysis.sweep_tables import terminal_tables, write_all

    try:
        files = write_all(folder)
        if not quiet:
            print(terminal_tables(folder), end="\n\n")
    except OmniMERError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    for file in files:
        print(file)


if __name__ == "__main__":
    app(prog_name="python -m analysis")
