"""What the feature store of some results holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from omnimer_ray.config import parse
from omnimer_ray.errors import ConfigError, OmniMERError
from omnimer_ray.feature_config import Feature, encoder_name
from omnimer_ray.features.store import FEATURES
from omnimer_ray.media.cache import kept
from omnimer_ray.records import read_json


def kept_lines(results: Path) -> Iterator[str]:
    """A line of each feature."""
    for folder in _folders(results):
        entries = list(folder.glob("*.safetensors"))
        if (folder / "written.json").exists():
            about = read_json(folder / "written.json")
            yield f"{folder.name}  answers to {about['kind']}, in the base's words: {len(list(folder.glob('*.json'))) - 1} entries"
            continue
        size = sum(entry.stat().st_size for entry in entries) / 2**20
        yield f"{folder.name}  {_about(folder)}: {len(entries)} entries, {size:.1f} MiB"


def check_lines(results: Path) -> tuple[list[str], int]:
    """A line of each feature, and the number of entries that were damaged and are deleted now."""
    lines, total = [], 0
    for folder in _folders(results):
        if (folder / "written.json").exists():
            continue
        entries = sorted(folder.glob("*.safetensors"))
        damaged = [entry for entry in entries if kept(entry) is None]
        for entry in damaged:
            entry.unlink()
        total += len(damaged)
        lines.append(
            f"{folder.name}  {_about(folder)}: {len(entries) - len(damaged)} of {len(entries)} entries are whole"
            + (f"; deleted {len(damaged)}" if damaged else "")
        )
    return lines, total


def _folders(results: Path) -> list[Path]:
    folders = sorted(path for path in (results / FEATURES).glob("*") if path.is_dir())
    if not folders:
        raise ConfigError(
            f"{results / FEATURES} holds no features; a sweep of networks on features makes some, or `python -m omnimer_ray.features build`"
        )
    return folders


def _about(folder: Path) -> str:
    try:
        feature = parse(Feature, read_json(folder / "feature.json"), "feature")
    except (OmniMERError, OSError):
        return "unfinished, or of an unknown kind"
    return f"{encoder_name(feature)} on {feature.view}"
