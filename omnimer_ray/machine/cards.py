"""NVIDIA cards of this machine, read from nvidia-smi without importing torch or Ray."""

from __future__ import annotations

import shutil
import subprocess
from typing import NamedTuple

WSL_FOLDER = "/usr/lib/wsl/lib"  # folder of nvidia-smi on WSL2, which may be missing from PATH


class Card(NamedTuple):
    """One GPU as nvidia-smi reports it."""

    name: str
    memory_gib: float
    driver: str

    @property
    def accelerator_type(self) -> str:
        """Ray's accelerator type of a card without a shorter name in Ray: 'NVIDIA GeForce RTX 3090' is GeForce-RTX-3090."""
        return self.name.removeprefix("NVIDIA ").strip().replace(" ", "-")


def nvidia_cards(limit_sec: float = 10) -> list[Card] | str:
    """Return the cards, an empty list without nvidia-smi, or the reason why nvidia-smi fails.

    /proc/driver/nvidia is not used because it is absent on WSL2.
    """
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
