"""The registration of a sweep: which contrasts its table will test, on how many seeds, with what power. Written before the first run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omnimer_ray.planning.setup import Sweep
from omnimer_ray.records import REGISTRATION, registration_hash, registrations, write_atomically


def to_register(sweep: Sweep) -> dict[str, Any] | None:
    """What the sweep would register now, without power and date; None if that is on record already, or if there is no contrast."""
    plan = sweep.plan
    content = {
        "contrasts": [list(pair) for pair in plan.contrasts],
        "tasks": list(plan.space.tasks),
        "score": "macro F1 over supported classes",
        "seeds": sorted({row.seed for row in plan.rows if row.seed is not None}),
        "folds": sweep.request.folds,
        "corpus": sweep.corpus.fingerprint,
    }
    known = [{name: line.get(name) for name in content} for line in registrations(sweep.folder)]
    return content if content["contrasts"] and content not in known[-1:] else None


def register(folder: Path, content: dict[str, Any], power: list[str]) -> None:
    """Add a line to the registration."""
    line = {**content, "power": power, "date": datetime.now(UTC).date().isoformat()}
    text = json.dumps({**line, "hash": registration_hash(line)}, ensure_ascii=False, sort_keys=True) + "\n"
    path = folder / REGISTRATION
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    write_atomically(path, lambda temporary: temporary.write_text(before + text, encoding="utf-8"))
