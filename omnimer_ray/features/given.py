"""Features that a person brings as files, one a clip: arrays as safetensors, or OpenFace's CSVs. T steps, D values of a step."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnimer_ray.corpora.clips import Clip, listed
from omnimer_ray.corpora.files import content_hashes
from omnimer_ray.errors import ConfigError, joined
from omnimer_ray.feature_config import Feature, Files, OpenFaceCsv

ARRAY = "features"  # name of the tensor in a file
UNITS = ("01", "02", "04", "05", "06", "07", "09", "10", "12", "14", "15", "17", "20", "23", "25", "26", "45")
COLUMNS = (  # of OpenFace 2, in the order of its own documentation: 288 of the eyes, 6 of the pose, 136 and 204 of the landmarks, 35 of the action units
    *(f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"),
    *(f"gaze_angle_{axis}" for axis in "xy"),
    *(f"eye_lmk_{axis}_{place}" for axis in "xyXYZ" for place in range(56)),
    *(f"pose_{part}{axis}" for part in "TR" for axis in "xyz"),
    *(f"{axis}_{place}" for axis in "xyXYZ" for place in range(68)),
    *(f"AU{unit}_r" for unit in UNITS),
    *(f"AU{unit}_c" for unit in sorted((*UNITS, "28"))),
)


def files_hash(folder: Path, cache: Path | None) -> str:
    """Hash of the names and contents of a folder's files, 16 hex digits; files that have not changed are not read again."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    hashes = content_hashes(files, cache)
    return hashlib.sha256("".join(f"{file.name}:{hashes[file][:16]};" for file in files).encode()).hexdigest()[:16]


def check_names(feature: Feature, clips: Sequence[Clip]) -> None:
    """Raise ConfigError if a clip has no file, or two."""
    encoder = feature.encoder
    assert isinstance(encoder, Files | OpenFaceCsv)
    suffix = _suffix(encoder)
    found = Counter(path.stem.casefold() for path in Path(encoder.folder).iterdir() if path.suffix.casefold() == suffix)
    absent = [clip.id for clip in clips if not (Path(encoder.folder) / f"{clip.id}{suffix}").is_file()]
    doubled = [clip.id for clip in clips if found[clip.id.casefold()] > 1]
    faults = [f"{what} {listed(names)}" for what, names in (("clips without a file:", absent), ("clips with two files:", doubled)) if names]
    if faults:
        raise ConfigError(f"{encoder.folder}: {'; '.join(faults)}; each clip needs one file NAME{suffix}, or list it under 'exclude'")


def check_contents(feature: Feature, clips: Sequence[Clip]) -> None:
    """Raise ConfigError with every file that cannot be read, is not finite, or is of another width than most."""
    faults, widths = list[str](), dict[str, int]()
    for clip in clips:
        try:
            widths[clip.id] = read(feature, clip).shape[1]
        except ConfigError as error:
            faults.append(str(error))
    usual = Counter(widths.values()).most_common(1)[0][0] if widths else 0
    faults += [
        f"{_path(feature, clip)} holds {width} values of a step, where most hold {usual}"
        for clip, width in widths.items()
        if width != usual
    ]
    if faults:
        raise ConfigError(joined(faults[:6]) + (f"; and {len(faults) - 6} more files" if len(faults) > 6 else ""))


def read(feature: Feature, clip: Clip) -> NDArray[np.float32]:
    """A clip's array, (T, D). Raises ConfigError for a file that is broken or not finite."""
    path = _path(feature, clip.id)
    array = _tensor(path) if isinstance(feature.encoder, Files) else _openface(path)
    if array.ndim != 2 or not array.size:
        raise ConfigError(f"{path} holds an array of shape {array.shape}; it must be (T, D), neither of them 0")
    if not np.isfinite(array).all():
        raise ConfigError(
            f"{path} holds {int((~np.isfinite(array)).sum())} values that are not finite; extract it again, or list the clip under 'exclude'"
        )
    return array.astype(np.float32)


def write(folder: Path, clip: str, array: NDArray[np.float32]) -> None:
    """Write a clip's array as `Files` reads it."""
    from omnimer_ray.media.cache import keep

    keep(folder / f"{clip}.safetensors", {ARRAY: np.ascontiguousarray(array, np.float32)}, {})


def _path(feature: Feature, clip: str) -> Path:
    encoder = feature.encoder
    assert isinstance(encoder, Files | OpenFaceCsv)
    return Path(encoder.folder) / f"{clip}{_suffix(encoder)}"


def _suffix(encoder: Files | OpenFaceCsv) -> str:
    return ".safetensors" if isinstance(encoder, Files) else ".csv"


def _tensor(path: Path) -> NDArray[np.float32]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            array: NDArray[np.float32] = file.get_tensor(ARRAY)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); it must be a safetensors file with one tensor {ARRAY!r}") from None
    return array


def _openface(path: Path) -> NDArray[np.float32]:
    """Rows with a face; one row of zeros if there is none in the clip."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(_rows(path, csv.reader(file, skipinitialspace=True)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as CSV ({error}); extract it again with OpenFace's FeatureExtraction") from None
    return np.array(rows or [[0.0] * len(COLUMNS)], np.float32)


def _rows(path: Path, lines: Iterator[list[str]]) -> Iterator[list[float]]:
    header = [name.strip() for name in next(lines, [])]
    if lacking := [name for name in (*COLUMNS, "success") if name not in header]:
        raise ConfigError(
            f"{path} lacks {len(lacking)} of OpenFace's columns ({', '.join(lacking[:3])}); run FeatureExtraction with all its outputs"
        )
    places, success = [header.index(name) for name in COLUMNS], header.index("success")
    for number, line in enumerate(lines, 2):
        if not line:
            continue
        try:
            if float(line[success]):
                yield [float(line[place]) for place in places]
        except (ValueError, IndexError):
            raise ConfigError(f"{path}, line {number}: it is no row of {len(header)} numbers; extract it again") from None
