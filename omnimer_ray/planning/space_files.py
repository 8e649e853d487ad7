"""Find search spaces: the files of `search_spaces/` by name, or a user's file by its path."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.errors import ConfigError, near
from omnimer_ray.planning.search_space import Search
from omnimer_ray.planning.space import SearchSpace

FOLDER = Path(__file__).parents[2] / "search_spaces"


class SpaceFile(NamedTuple):
    """A file that defines `space(recipe)`, a SearchSpace or a Search; its docstring's first line is the question."""

    name: str
    path: Path
    question: str

    @property
    def is_ours(self) -> bool:
        """Whether it is one of the project's own."""
        return self.path.resolve().parent == FOLDER.resolve()


def list_spaces() -> list[SpaceFile]:
    """The project's own spaces; their files are parsed, not run."""
    files = sorted(path for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
    return [SpaceFile(path.stem, path, _question(path)) for path in files]


def find_space(name: str) -> SpaceFile:
    """The space called `name`, or the file at that path."""
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"search space {name!r}: no such file")
        return SpaceFile(path.stem, path, _question(path))
    known = {file.name: file for file in list_spaces()}
    if name not in known:
        raise ConfigError(f"search space {name!r} is unknown, and is no path of a file of your own (.py); {near(name, known)}")
    return known[name]


def load_space(file: SpaceFile, recipe: ThinkerConfig) -> SearchSpace | Search:
    """Run the file's `space(recipe)`. Raises ConfigError if it has none or returns something else."""
    specification = importlib.util.spec_from_file_location(f"search_space_{file.name}", file.path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:  # the file is the user's code: any error of it is reported with its line
        raise ConfigError(f"search space {file.path} cannot be run: {type(error).__name__}: {error}") from error
    make: Callable[[ThinkerConfig], SearchSpace | Search] | None = getattr(module, "space", None)
    if not callable(make):
        raise ConfigError(f"search space {file.path} defines no function space(recipe); search_spaces/ablations.py is an example")
    try:
        space = make(recipe)
    except Exception as error:
        raise ConfigError(f"search space {file.path}: space(recipe) raised {type(error).__name__}: {error}") from error
    if not isinstance(space, SearchSpace | Search):
        raise ConfigError(f"search space {file.path}: space(recipe) returned {type(space).__name__}, not SearchSpace or Search")
    return space


def _question(path: Path) -> str:
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except (SyntaxError, ValueError) as error:  # ValueError: not UTF-8, or null bytes
        raise ConfigError(f"search space {path} is not valid Python: {error}") from None
    return text.splitlines()[0] if text else "(no docstring: its first line should be the question)"
