"""The result of a check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from omnimer_ray.errors import MachineError


class Finding(NamedTuple):
    """Result of one check: an observation, or what to do."""

    name: str
    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'fine' if self.ok else 'MEND'}  {self.name:14}  {self.text}"


def refuse(findings: Sequence[Finding]) -> None:
    """Raise MachineError with everything that must be fixed, one per line, if any finding is not fine."""
    if broken := [finding for finding in findings if not finding.ok]:
        lines = "\n".join(f"  {finding.name}: {finding.text}" for finding in broken)
        raise MachineError(f"{len(broken)} of {len(findings)} checks of this machine failed (python -m omnimer_ray.doctor):\n{lines}")
