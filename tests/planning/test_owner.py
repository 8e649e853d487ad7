"""One results folder for each space, corpus and base: two of one name never share one, and a renamed base finds its own again."""

from pathlib import Path
from typing import Any

import pytest
from making import sweep_of

from omnimer_ray.errors import ResultsError
from omnimer_ray.outputs.analysis_inputs import write_plan
from omnimer_ray.planning.owner import Owner, find_folder
from omnimer_ray.planning.space_files import SpaceFile, find_space
from omnimer_ray.records import read_json, write_json

MINE = Owner("my_space", "/spaces/my_space.py", "indomer", "c0ffee", "7B", "beef")


def own(folder: Path, **changes: Any) -> Path:
    """A results folder as a sweep of this owner leaves it."""
    owner = MINE._replace(**changes)
    place = folder / f"{owner.corpus}-{owner.base}"
    write_json(
        place / "plan.json",
        {
            **owner.as_plan(),
            "corpus": {"name": owner.corpus, "fingerprint": owner.fingerprint},
            "base": {"name": owner.base, "revision": owner.revision},
        },
    )
    return place


def test_the_name_of_a_folder_has_corpus_and_base(tmp_path: Path) -> None:
    assert find_folder(tmp_path, "-limit8", MINE) == tmp_path / "indomer-7B-limit8"
    assert find_folder(tmp_path, "", MINE) == own(tmp_path)


@pytest.mark.parametrize(
    ("changes", "what", "old", "new"),
    [
        ({"fingerprint": "decaf"}, "corpus", "indomer with fingerprint decaf", "indomer with fingerprint c0ffee"),
        ({"revision": "f00d"}, "base", "7B with revision f00d", "7B with revision beef"),
        ({"space_file": None}, "search space", "my_space of this project", "/spaces/my_space.py"),
    ],
)
def test_a_folder_of_another_owner_is_refused(tmp_path: Path, changes: dict[str, Any], what: str, old: str, new: str) -> None:
    place = own(tmp_path, **changes)
    with pytest.raises(ResultsError) as raised:
        find_folder(tmp_path, "", MINE)
    assert str(raised.value) == f"{place} holds results of the {what} {old}, not of {new}; give another --results, or move that folder away"


def test_two_files_of_one_name_are_two_spaces_and_a_moved_file_is_one(tmp_path: Path) -> None:
    other = tmp_path / "other" / "my_space.py"
    place = own(tmp_path, space_file=str(other))
    assert find_folder(tmp_path, "", MINE) == place, "the file that made it is gone: it was moved here"
    other.parent.mkdir()
    other.touch()
    with pytest.raises(
        ResultsError, match=rf"holds results of the search space {other}, not of /spaces/my_space.py; give another --results"
    ):
        find_folder(tmp_path, "", MINE)


def test_a_renamed_base_resumes_in_its_folder(tmp_path: Path) -> None:
    place = own(tmp_path)
    assert find_folder(tmp_path, "", MINE._replace(base="Qwen2.5-Omni-7B")) == place
    assert find_folder(tmp_path, "", MINE._replace(base="3B", revision="f00d")) == tmp_path / "indomer-3B"
    assert find_folder(tmp_path, "-limit8", MINE._replace(base="Qwen2.5-Omni-7B")) == tmp_path / "indomer-Qwen2.5-Omni-7B-limit8"


def test_a_folder_of_an_earlier_version_is_accepted(tmp_path: Path) -> None:
    place = own(tmp_path)
    plan = read_json(place / "plan.json")
    del plan["space_file"]
    write_json(place / "plan.json", plan)
    assert find_folder(tmp_path, "", MINE) == place


def test_a_sweep_writes_its_owner(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, [])
    write_plan(sweep)
    assert find_folder(tmp_path / "ablations", "", Owner.of(sweep.file, sweep.corpus, sweep.base)) == sweep.folder
    with pytest.raises(ResultsError, match=r"holds results of the search space ablations of this project, not of .*/ablations\.py"):
        find_folder(tmp_path / "ablations", "", Owner.of(SpaceFile("ablations", tmp_path / "ablations.py", ""), sweep.corpus, sweep.base))
    assert find_space("ablations").is_ours
