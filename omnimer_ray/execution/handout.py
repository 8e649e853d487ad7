"""What the units of a sweep are handed: where everything lies, the clips, and a stage's items in their order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnimer_ray.config import RunConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.select import splits_of
from omnimer_ray.machine.profile import MachineProfile
from omnimer_ray.model.bases import Base
from omnimer_ray.planning.pruning import Pruning
from omnimer_ray.planning.units import Unit
from omnimer_ray.records import write_json


@dataclass(frozen=True)
class Job:
    """What every unit of a sweep shares."""

    folder: Path  # of the results
    ledgers: Path  # of the supervision's entries, a folder for each part
    cache: Path
    base: Base  # as the driver resolved it: workers never resolve a name
    profile: MachineProfile
    session: str  # of the driver, for names that must not repeat
    pruning: Pruning | None = None  # of the trials of a search

    @property
    def work(self) -> Path:
        """Where a running sweep keeps its own state; the analysis needs none of it."""
        return self.folder / ".sweep"

    @property
    def stop_file(self) -> Path:
        """Stands once somebody asked the sweep to stop."""
        return self.work / "stop"

    def progress_file(self, unit: Unit) -> Path:
        """How far a unit's answers are."""
        return self.work / "progress" / f"{unit.id}.json"

    def hung_file(self, unit: Unit) -> Path:
        """Says why a worker of the unit was ended by its watchdog."""
        return self.work / "hung" / f"{unit.id}.txt"


def write_manifest(path: Path, clips: Sequence[Clip]) -> None:
    """The clips with their media paths, for the workers."""
    write_json(path, [{name: str(value) if isinstance(value, Path) else value for name, value in vars(clip).items()} for clip in clips])


def read_manifest(path: Path, config: RunConfig) -> list[Clip]:
    """The clips of a run, with its fold's splits."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    for row in rows:
        for name in ("video_path", "audio_path"):
            row[name] = Path(row[name]) if row[name] else None
    return splits_of(config, [Clip(**row) for row in rows])
