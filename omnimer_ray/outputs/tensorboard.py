"""TensorBoard files of recorded stages and runs: `tensorboard --logdir results/<space>/<corpus>-<base>/tensorboard`.

They are made from a stage's history and a run's predictions after the training, so a resumed stage has each step once. No clock is used:
the time of an event is the seconds of training before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omnimer_ray.config import content_hash
from omnimer_ray.corpora.select import evaluated_split
from omnimer_ray.outputs.analysis_inputs import run_scores
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import RunUnit, Unit, record_folder, trained_stage
from omnimer_ray.records import read_history, read_record, write_atomically

CURVES = {"loss": "loss", "learning_rate": "learning_rate", "sec": "step_sec", "grad_norm": "grad_norm"}  # name in a history -> tag
Scalars = tuple[int, float, dict[str, float]]  # step, seconds of training, values


def write_events(sweep: Sweep, unit: Unit) -> None:
    """Write the unit's folder below `tensorboard/`, if the unit is recorded; a folder that was made from the same records is kept."""
    records = [read_record(folder) for folder in _folders(sweep, unit)]
    if not any(records):
        return
    folder = sweep.folder / "tensorboard" / folder_name(unit)
    path = folder / f"events.out.tfevents.{content_hash(records)}"
    if path.exists():
        return
    scalars, about = list(_scalars(sweep, unit)), [unit.title, *(f"**Stand-in.** {notice}" for notice in sweep.stand_ins)]
    write_atomically(path, lambda temporary: _write(temporary, scalars, "\n\n".join(about)))
    for old in set(folder.glob("events.*")) - {path}:
        old.unlink()


def folder_name(unit: Unit) -> str:
    """The unit's title as a folder, with the first digits of its signature or key: titles may repeat."""
    title = re.sub(r"[^\w ,.()+-]+", "_", unit.title.replace(" / ", ", ").replace(": ", " ")).strip(". ")
    return f"{title[:120]} {unit.id.partition('-')[2][:6]}"


def _folders(sweep: Sweep, unit: Unit) -> list[Path]:
    """Folder with the unit's record."""
    stage = trained_stage(unit)
    return ([sweep.folder / "stages" / stage.key] if stage else []) + (
        [record_folder(unit, sweep.folder)] if isinstance(unit, RunUnit) else []
    )


def _scalars(sweep: Sweep, unit: Unit) -> Iterator[Scalars]:
    """Scalars of every step of the stage, then of the run's evaluation, at the last step."""
    step, sec, stage = 0, 0.0, trained_stage(unit)
    for entry in read_history(sweep.folder / "stages" / stage.key) if stage else ():
        step, sec = entry["step"], sec + entry["sec"]
        yield step, sec, {f"train/{tag}": entry[name] for name, tag in CURVES.items() if name in entry}
    if isinstance(unit, RunUnit) and (scores := run_scores(sweep.folder, unit.run)):
        split = evaluated_split(unit.run.config)
        values = {f"{split}/{name}": value for name, value in (*scores.values.items(), ("unparsed", float(scores.unparsed)))}
        yield step, sec, values | {f"{split}_f1/{label}": f1 for label, f1 in zip(scores.labels, scores.f1, strict=True)}


def _write(path: Path, scalars: Sequence[Scalars], about: str) -> None:
    """Write an event file by tensorboardX, a dependency of Ray Tune. Kept instead of its SummaryWriter, which puts the clock and the host into the name."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.record_writer import RecordWriter
    from tensorboardX.summary import text

    writer = RecordWriter(str(path))
    events: list[Any] = [Event(wall_time=0.0, file_version="brain.Event:2"), Event(wall_time=0.0, step=0, summary=text("about", about))]
    for step, sec, values in scalars:
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        events.append(Event(wall_time=sec, step=step, summary=summary))
    for event in events:
        writer.write(event.SerializeToString())
    writer.close()
