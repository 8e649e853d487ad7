"""The results folder of a space, corpus and base: one folder for each combination, never shared by two of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Self

from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import ResultsError
from omnimer_ray.model.bases import Base
from omnimer_ray.planning.space_files import SpaceFile
from omnimer_ray.records import read_json

PLAN = "plan.json"


class Owner(NamedTuple):
    """The space, corpus and base of a results folder. Names can be reused: fingerprint, revision and file tell them apart."""

    space: str
    space_file: str | None  # absolute path of a user's file; None for a space of the project
    corpus: str
    fingerprint: str
    base: str
    revision: str

    @classmethod
    def of(cls, file: SpaceFile, corpus: Corpus, base: Base) -> Self:
        """The owner of a sweep's results."""
        own = None if file.is_ours else str(file.path.resolve())
        return cls(file.name, own, corpus.name, corpus.fingerprint, base.config().name, base.revision)

    def as_plan(self) -> dict[str, Any]:
        """The owner's fields in plan.json."""
        return {"space": self.space, "space_file": self.space_file}


def find_folder(space: Path, suffix: str, mine: Owner) -> Path:
    """`space/<corpus>-<base><suffix>`; the folder of the same corpus and base under an earlier name of the base, if there is one.

    Raises ResultsError if the folder belongs to another space, corpus or base of the same name.
    """
    folder = space / f"{mine.corpus}-{mine.base}{suffix}"
    if (folder / PLAN).exists():
        _check(folder, mine)
        return folder
    for plan in sorted(space.glob(f"{mine.corpus}-*{suffix}/{PLAN}")) if not folder.exists() else ():
        theirs = read_json(plan)
        if _identity(theirs) == (mine.fingerprint, mine.revision) and plan.parent.name == f"{mine.corpus}-{theirs['base']['name']}{suffix}":
            _check(plan.parent, mine)
            return plan.parent
    return folder


def _check(folder: Path, mine: Owner) -> None:
    theirs = read_json(folder / PLAN)
    fingerprint, revision = _identity(theirs)
    other = []
    if theirs.get("space_file", mine.space_file) != mine.space_file and _still_exists(theirs["space_file"]):
        other.append(
            ("search space", theirs["space_file"] or f"{mine.space} of this project", mine.space_file or f"{mine.space} of this project")
        )
    if fingerprint not in (None, mine.fingerprint):
        other.append(("corpus", f"{mine.corpus} with fingerprint {fingerprint}", f"{mine.corpus} with fingerprint {mine.fingerprint}"))
    if revision not in (None, mine.revision):
        other.append(("base", f"{mine.base} with revision {revision}", f"{mine.base} with revision {mine.revision}"))
    for what, old, new in other:
        raise ResultsError(f"{folder} holds results of the {what} {old}, not of {new}; give another --results, or move that folder away")


def _still_exists(file: str | None) -> bool:
    """Whether a recorded space can still be run: a file that was moved is not another space."""
    return file is None or Path(file).exists()


def _identity(plan: Any) -> tuple[str | None, str | None]:
    """Fingerprint and revision in a plan.json; None if absent."""
    try:
        return plan["corpus"]["fingerprint"], plan["base"]["revision"]
    except (KeyError, TypeError):
        return None, None
