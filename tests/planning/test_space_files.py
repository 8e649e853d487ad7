"""Search spaces are found by name or path; a file that is none is named with what it lacks."""

import re
from pathlib import Path

import pytest
from making import tiny_config

from omnimer_ray.errors import ConfigError
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.search_space import Search, confirmation
from omnimer_ray.planning.space import SearchSpace
from omnimer_ray.planning.space_files import FOLDER, SpaceFile, find_space, list_spaces, load_space

FILES = [file for file in [*list_spaces(), find_space(str(FOLDER / "_template.py"))] if file.name != "search"]
NUMBERS = {
    "ablations": (12, 13, 1),
    "ranks": (16, 16, 0),
    "subsets": (120, 148, 28),
    "supervision_kinds": (18, 18, 0),
    "supervision_settings": (10, 10, 0),
    "modalities": (14, 14, 0),
    "missing": (560, 20, 20),
    "methods": (78, 72, 18),
    "mmef_ladder": (30, 30, 3),
    "fractions": (12, 12, 0),
    "prompts": (8, 8, 0),
    "cross_lingual": (6, 7, 0),
    "controls": (16, 19, 1),
    "open_settings": (27, 33, 4),
    "_template": (6, 6, 0),
}  # runs, stages, shared


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_every_space_expands_into_the_runs_that_its_file_names(file: SpaceFile) -> None:
    space = load_space(file, tiny_config())
    assert isinstance(space, SearchSpace)
    plan = make_plan(space)
    trained = sum(run.config.seeded for run in plan.runs.values())
    assert (trained, len(plan.stages), plan.num_shared()) == NUMBERS[file.name]
    assert len({row.signature for row in plan.rows}) == len(plan.rows)
    assert file.question.endswith("?") or "? (" in file.question


def test_a_search_has_no_rows_before_its_trials() -> None:
    search = load_space(find_space("search"), tiny_config())
    assert isinstance(search, Search)
    assert search.baseline == tiny_config()
    assert list(confirmation(search, []).variants) == ["Base"]
    assert find_space("search").question.endswith("?")


def test_only_the_template_is_not_listed() -> None:
    assert [file.name for file in list_spaces()] == sorted({*NUMBERS, "search"} - {"_template"})
    assert find_space("ablations").path == FOLDER / "ablations.py"


def write(folder: Path, text: str) -> SpaceFile:
    path = folder / "mine.py"
    path.write_text(text, encoding="utf-8")
    return SpaceFile("mine", path, "")


def test_a_file_of_ones_own_is_found_by_its_path(tmp_path: Path) -> None:
    path = write(tmp_path, '"""Does it matter?\n\nMore."""\n').path
    assert find_space(str(path)) == SpaceFile("mine", path, "Does it matter?")
    write(tmp_path, "")
    assert find_space(str(path)).question == "(no docstring: its first line should be the question)"


def test_an_unknown_name_lists_the_near_ones() -> None:
    with pytest.raises(ConfigError) as raised:
        find_space("ablation")
    assert str(raised.value) == "search space 'ablation' is unknown, and is no path of a file of your own (.py); did you mean 'ablations'?"


def test_the_error_names_a_missing_path() -> None:
    with pytest.raises(ConfigError, match=r"^search space 'no/where\.py': no such file$"):
        find_space("no/where.py")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"def space(:\n", r"is not valid Python: invalid syntax"),
        (b"x = '\xff'", r"is not valid Python: .*utf-8"),
        (b"x = 1\0", r"is not valid Python: .*null bytes"),
    ],
)
def test_the_error_names_a_file_that_cannot_be_parsed(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^search space {re.escape(str(path))} {text}"):
        find_space(str(path))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("import nothing_like_it", "cannot be run: ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("1 / 0", "cannot be run: ZeroDivisionError: division by zero"),
        ("SPACE = 1", "defines no function space(recipe); search_spaces/ablations.py is an example"),
        ("space = 1", "defines no function space(recipe); search_spaces/ablations.py is an example"),
        ("def space(recipe): return {}", "space(recipe) returned dict, not SearchSpace or Search"),
        ("def space(recipe): pass", "space(recipe) returned NoneType, not SearchSpace or Search"),
        ("def space(recipe): return recipe.epoch", "space(recipe) raised AttributeError: 'ThinkerConfig' object has no attribute 'epoch'"),
        ("def space(): pass", "space(recipe) raised TypeError: space() takes 0 positional arguments but 1 was given"),
        (
            "from omnimer_ray.config import changed\ndef space(recipe): return changed(recipe, {'sed': 1})",
            "space(recipe) raised ConfigError: unknown field 'sed'; did you mean 'seed'?",
        ),
    ],
)
def test_the_error_names_a_file_without_a_space(tmp_path: Path, content: str, text: str) -> None:
    file = write(tmp_path, content)
    with pytest.raises(ConfigError) as raised:
        load_space(file, tiny_config())
    assert str(raised.value) in (f"search space {file.path} {text}", f"search space {file.path}: {text}")


def test_a_space_is_bound_to_the_recipe_it_is_given(tmp_path: Path) -> None:
    text = "from omnimer_ray.planning.space import SearchSpace\ndef space(recipe): return SearchSpace(recipe, {'One': {}})"
    assert load_space(write(tmp_path, text), tiny_config(seed=3)).baseline.seed == 3
