"""NVIDIA cards of this machine, by nvidia-smi: torch and Ray are not imported."""

from __future__ import annotations

import shutil
import subprocess
from typing import NamedTuple

WSL_FOLDER = "/usr/lib/wsl/lib"  # of nvidia-smi on WSL2, where PATH may lack it


class Card(NamedTuple):
    """One GPU as nvidia-smi reports it."""

    name: str
    memory_gib: float
    driver: str

    @property
    def accelerator_type(self) -> str:
        """Ray's accelerator type if it has no shorter name: 'NVIDIA GeForce RTX 3090' is GeForce-RTX-3090."""
        return self.name.removeprefix("NVIDIA ").strip().replace(" ", "-")


def nvidia_cards(limit_sec: float = 10) -> list[Card] | str:
    """Return the cards, none if there is no nvidia-smi; or the reason why it fails. /proc/driver/nvidia is absent on WSL2."""
    program = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path=WSL_FOLDER)
    if program is None:
        return []
    command = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_sec, check=False)
    except subprocess.TimeoutExpired:
        return f"nvidia-smi did not answer within {limit_sec:g} s"
    if done.returncode:
        return ((done.stdout + done.stderr).strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    rows = [line.split(", ") for line in done.stdout.strip().splitlines()]
    return [Card(name, float(mib) / 1024, driver) for name, mib, driver in rows]
