"""The records of a finished sweep on generated clips, which come with the package: tables, report and notebooks to try without training."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path, PurePosixPath

from omnimer_ray.errors import ResultsError
from omnimer_ray.records import write_atomically

RECORDS = Path(__file__).with_name("example.zip")
KEPT = (
    "plan.json",
    "clips.parquet",
    "ledger.parquet",
    "registration.jsonl",
    "runs/*/*",
    "stages/*/record.json",
    "stages/*/cost.json",
    "stages/*/history.jsonl",
)
MACHINE = ("host", "node")  # left out of cost files
DAY = (1980, 1, 1, 0, 0, 0)  # of every file in the archive, so that the same records give the same bytes


def unpack(into: Path) -> Path:
    """Write the records into a new folder. Raises ResultsError if it holds something."""
    if into.exists() and any(into.iterdir()):
        raise ResultsError(f"{into} is not empty; name a new folder with --into, or look at it with:  python -m analysis {into}")
    with zipfile.ZipFile(RECORDS) as archive:
        for name in archive.namelist():
            path = into / PurePosixPath(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(name))
    return into


def pack(folder: Path, file: Path = RECORDS) -> None:
    """Make the archive of a results folder: all that analysis reads, without weights, and without the names of machines."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted({path for pattern in KEPT for path in folder.glob(pattern) if path.is_file()}):
            content = path.read_bytes()
            if path.name == "cost.json":
                cost = {name: value for name, value in json.loads(content).items() if name not in MACHINE}
                content = json.dumps(cost, indent=1, sort_keys=True).encode() + b"\n"
            archive.writestr(zipfile.ZipInfo(path.relative_to(folder).as_posix(), DAY), content, zipfile.ZIP_DEFLATED)
    write_atomically(file, lambda temporary: temporary.write_bytes(buffer.getvalue()))
