"""What all commands share: how they end with an error, and how they name themselves in the line that resumes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from omnimer_ray.errors import OmniMERError


def run_app(app: Callable[[], None]) -> None:
    """Run a command's app. An error that the user can fix is printed as one line, without a traceback."""
    try:
        app()
    except OmniMERError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(error.exit_code)


def python_word() -> str:
    """Return the word that starts this interpreter from this folder: `python` if that is the first on the PATH, else its path."""
    first, mine = shutil.which("python"), Path(sys.executable).absolute()
    if first is not None and Path(first).absolute().parent == mine.parent and Path(first).samefile(mine):
        return "python"
    return str(mine.relative_to(Path.cwd())) if mine.is_relative_to(Path.cwd()) else str(mine)
