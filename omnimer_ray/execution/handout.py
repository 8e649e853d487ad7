"""Data that every worker of a sweep receives: folders, base, machine profile and clips."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omnimer_ray.config import RunConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.select import splits_of
from omnimer_ray.features.locating import Located
from omnimer_ray.features.store import FEATURES
from omnimer_ray.machine.profile import MachineProfile
from omnimer_ray.model.bases import Base
from omnimer_ray.planning.pruning import Pruning
from omnimer_ray.planning.units import Unit
from omnimer_ray.records import write_json


@dataclass(frozen=True)
class Job:
    """Settings and folders that all units of a sweep share."""

    folder: Path  # of the results
    ledgers: Path  # supervision ledgers, a folder for each key
    cache: Path
    base: Base  # as the driver resolved it: workers never resolve a name
    profile: MachineProfile
    session: str  # of the driver, for unique names
    pruning: Pruning | None = None  # of a search's trials
    encoders: Mapping[str, Located] = field(default_factory=dict)  # pretrained ones of features, by revision
    keeps_outputs: bool = False  # of the vision tower, among the features; else the tower runs at every step

    @property
    def work(self) -> Path:
        """State of a running sweep; the analysis does not read it."""
        return self.folder / ".sweep"

    @property
    def feature_store(self) -> Path:
        """Folder of kept features, shared as the ledgers are."""
        return self.ledgers.parent / FEATURES

    @property
    def stop_file(self) -> Path:
        """Exists after a request to stop the sweep."""
        return self.work / "stop"

    def progress_file(self, unit: Unit) -> Path:
        """Number of clips that a unit has answered so far."""
        return self.work / "progress" / f"{unit.id}.json"

    def other_file(self, fingerprint: str) -> Path:
        """The clips of another corpus that runs answer."""
        return self.work / "others" / f"{fingerprint}.json"

    def hung_file(self, unit: Unit) -> Path:
        """The watchdog's reason for ending a worker of the unit."""
        return self.work / "hung" / f"{unit.id}.txt"


def write_manifest(path: Path, clips: Sequence[Clip]) -> None:
    """Write the clips with their media paths, for the workers."""
    write_json(path, [{name: str(value) if isinstance(value, Path) else value for name, value in vars(clip).items()} for clip in clips])


def read_manifest(path: Path, config: RunConfig) -> list[Clip]:
    """Read the clips of a run, with the splits of its fold."""
    return splits_of(config, read_clips(path))


def read_clips(path: Path) -> list[Clip]:
    """Read the clips of a manifest."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    for row in rows:
        for name in ("video_path", "audio_path"):
            row[name] = Path(row[name]) if row[name] else None
        row["tracks"] = tuple(row["tracks"])
    return [Clip(**row) for row in rows]
