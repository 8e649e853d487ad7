"""Progress of a running sweep: a line when a unit starts or ends, the state of running units, and the time left.

It reads the plain files that workers write into the results folder, so it works from any machine that shares the folder.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from omnimer_ray.errors import OmniMERError
from omnimer_ray.planning.extents import Extent, duration
from omnimer_ray.planning.units import Unit, trained_stage
from omnimer_ray.records import RECORD

UPDATE_EVERY_SEC, PLAIN_EVERY_SEC, WAITING_EVERY_SEC = 1.0, 15.0, 60.0
WAITING_AFTER_SEC = 10.0  # the cores of a finished unit are free only after a few seconds


class Progress:
    """Context manager that prints progress: one changing line on a terminal, otherwise a plain line every 15 s."""

    def __init__(
        self, console: Console, folder: Path, extents: dict[str, Extent], recorded: Iterable[str], after: Callable[[Unit], None]
    ) -> None:
        """`after` is called with each unit whose trial has ended; an OmniMERError that it raises is printed."""
        self.console, self.folder, self.extents, self.after = console, folder, extents, after
        self.finished = set(recorded)
        self.recorded_work = sum(extents[name].work for name in list(self.finished))
        self.running: dict[str, Unit] = {}
        self.began = time.monotonic()
        self.waiting: str | None = None  # reason why a ready unit has waited for WAITING_AFTER_SEC or longer
        self._waits_since: float | None = None
        self._next_report = 0.0  # time of the next log line with this reason
        self._exited = threading.Event()
        self._status = console.status("starting workers") if console.is_terminal else None

    def start(self, unit: Unit) -> None:
        """Log that a unit was started."""
        self.running[unit.id] = unit
        self._log(f"start  {unit.title}")

    def end(self, unit: Unit, outcome: str, reason: str | None) -> None:
        """Log a unit's outcome."""
        del self.running[unit.id]
        if outcome == "done":
            self.finished.add(unit.id)
            self._log(f"done   {unit.title}{_loss(last_step(unit, self.folder))}{self._matched(unit)}")
        else:
            self._log(f"{outcome.replace('_', ' '):6} {unit.title}{f': {reason}' if reason else ''}")
        try:
            self.after(unit)
        except OmniMERError as error:  # the sweep continues, and its outputs are written again at its end
            self._log(str(error))

    def wait(self, reason: str | None) -> None:
        """Log the reason why a ready unit waits: after a few seconds, then once a minute. None: no unit waits."""
        now = time.monotonic()
        if reason is None:
            self.waiting = self._waits_since = None
            return
        if self._waits_since is None:
            self._waits_since = self._next_report = now
        if now - self._waits_since < WAITING_AFTER_SEC:
            return
        self.waiting = reason
        if now >= self._next_report:
            self._next_report = now + WAITING_EVERY_SEC
            self._log(reason)

    def _log(self, text: str) -> None:
        console_logger(self.console)(f"[{self._clock()}] {text}")

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._exited.set()
        self._thread.join(timeout=5)
        if self._status:
            self._status.stop()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._exited.wait(UPDATE_EVERY_SEC):
            if self._status:
                self._status.update(self._line())
            elif time.monotonic() - last >= PLAIN_EVERY_SEC and (self.running or not self.waiting):
                last = time.monotonic()
                self._log(self._line())

    def _matched(self, unit: Unit) -> str:
        """The modules with LoRA, from the stage's record."""
        stage = trained_stage(unit)
        record = _read(self.folder / "stages" / stage.key / RECORD) if stage else {}
        return f"; {record['matched']}" if "matched" in record else ""

    def _line(self) -> str:
        parts = [describe(unit, self.folder) for unit in list(self.running.values())] + ([self.waiting] if self.waiting else [])
        return f"{len(self.finished)} of {len(self.extents)} units done{self._time_left()}  " + "  |  ".join(parts)

    def _time_left(self) -> str:
        total = sum(extent.work for extent in list(self.extents.values()))  # a search adds units meanwhile
        done = sum(self.extents[name].work for name in list(self.finished)) + sum(
            self._work_so_far(unit) for unit in list(self.running.values())
        )
        gained, elapsed = done - self.recorded_work, time.monotonic() - self.began
        if gained <= 0 or elapsed < 20:
            return ""
        return f", about {duration((total - done) / gained * elapsed)} left"

    def _work_so_far(self, unit: Unit) -> float:
        history = last_step(unit, self.folder)
        return history["step"] * self.extents[unit.id].batch if history else 0.0

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        return f"{minutes:3d}:{seconds:02d}"


def describe(unit: Unit, folder: Path) -> str:
    """The state of a running unit, from the files of its worker."""
    state = _read(folder / ".sweep" / "progress" / f"{unit.id}.json")
    if state:
        return f"{unit.title}: {state['done']} of {state['total']} {state['what']}"
    if history := last_step(unit, folder):
        return f"{unit.title}: step {history['step']} of {history['num_steps']}{_loss(history)}"
    return f"{unit.title}: loading"


def last_step(unit: Unit, folder: Path) -> dict[str, Any]:
    """The last entry of a stage's history; empty without a history."""
    stage = trained_stage(unit)
    lines = _lines(folder / "stages" / stage.key / "history.jsonl") if stage else []
    return _parse(lines[-1]) if lines else {}


def console_logger(console: Console) -> Callable[[str], None]:
    """A function that prints a line without markup, highlighting or wrapping."""
    return lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True)


def _loss(history: dict[str, Any]) -> str:
    return f", loss {history['loss']:.3f}" if history else ""


def _lines(path: Path) -> list[str]:
    """Lines of a file; an empty list if it does not exist, since its worker may have removed it."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _read(path: Path) -> dict[str, Any]:
    lines = _lines(path)
    return _parse("\n".join(lines)) if lines else {}


def _parse(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        return {}  # being written
    return data if isinstance(data, dict) else {}
