"""TensorBoard files hold what the records say, each step once, and are made again when the records change."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from making import AnyUnit, clip, finish, step, sweep_of
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from omnimer_ray.errors import ResultsError
from omnimer_ray.outputs.tensorboard import folder_name, write_events
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import RunUnit, Unit, record_folder
from omnimer_ray.records import file_hash

CLIPS = (clip("a_1"), clip("b_1", split="validation"), clip("b_2", split="validation", sentiment="positive", emotion="happiness"))


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(tmp_path, CLIPS)


def one(sweep: Sweep, title: str) -> Unit:
    return next(unit for unit in sweep.plan.units if unit.title.startswith(title))


def events(folder: Path) -> Iterator[Event]:
    """The records of the folder's one event file, their sums checked as TensorBoard does."""
    (path,) = folder.iterdir()
    assert "tfevents" in path.name, "TensorBoard reads no other"
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        assert struct.unpack("<I", data[8:12])[0] == masked_crc32c(data[:8])
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == masked_crc32c(body)
        yield Event.FromString(body)
        data = data[16 + length :]


def scalars(sweep: Sweep, unit: Unit) -> list[tuple[int, float, dict[str, float]]]:
    """Step, time and values of every event behind the first two: the version and the text."""
    seen = list(events(sweep.folder / "tensorboard" / folder_name(unit)))
    assert seen[0].file_version == "brain.Event:2"
    return [(event.step, event.wall_time, {value.tag: value.simple_value for value in event.summary.value}) for event in seen[2:]]


def test_every_step_once_then_the_scores(sweep: Sweep) -> None:
    unit = one(sweep, "Base / sentiment")
    finish(sweep, unit, step(1, 1.5), step(2, 0.25, sec=0.5), '{"step": 3, "lo')
    write_events(sweep, unit)
    assert scalars(sweep, unit)[:2] == [
        (1, 2.0, {"train/loss": 1.5, "train/learning_rate": 0.5, "train/step_sec": 2.0}),
        (2, 2.5, {"train/loss": 0.25, "train/learning_rate": 0.25, "train/step_sec": 0.5}),
    ]
    ((at, sec, scores),) = scalars(sweep, unit)[2:]
    assert (at, sec) == (2, 2.5)
    assert {name: value for name, value in scores.items() if not name.startswith("validation_f1/")} == {
        "validation/accuracy": 0.5,
        "validation/macro_f1": pytest.approx(1 / 3),
        "validation/weighted_f1": 0.5,
        "validation/uar": 0.5,
        "validation/unparsed": 1.0,
    }
    assert {name.partition("/")[2]: value for name, value in scores.items() if name.startswith("validation_f1/")} == {
        "negative": 0.0,
        "neutral": 1.0,
        "positive": 0.0,
    }


def test_the_grad_norm_is_a_curve_if_it_was_logged(sweep: Sweep) -> None:
    """The history of an older version has none."""
    unit = one(sweep, "Base / emotion")
    finish(sweep, unit, step(1, 1.5), step(2, 1.0).replace("}", ', "grad_norm": 0.75}'))
    write_events(sweep, unit)
    assert [values.get("train/grad_norm") for _, _, values in scalars(sweep, unit)][:2] == [None, 0.75]


def test_a_shared_stage_is_written_once(sweep: Sweep) -> None:
    shared = one(sweep, "stage 1")
    rows = [unit for unit in sweep.plan.units if "Multi-stage" in unit.title]
    finish(sweep, shared, step(1, 1.0))
    for unit in rows:
        finish(sweep, unit, step(1, 0.5))
    for unit in sweep.plan.units:
        write_events(sweep, unit)
    assert {folder.name for folder in (sweep.folder / "tensorboard").iterdir()} == {folder_name(unit) for unit in (shared, *rows)}
    assert [values["train/loss"] for _, _, values in scalars(sweep, shared)] == [1.0]


def test_a_zero_shot_run_has_its_scores_alone(sweep: Sweep) -> None:
    unit = one(sweep, "Zero-shot / emotion")
    finish(sweep, unit, predicted=("neutral", "happiness"))
    write_events(sweep, unit)
    ((at, sec, scores),) = scalars(sweep, unit)
    assert (at, sec, scores["validation/accuracy"]) == (0, 0.0, 1.0)


def test_a_run_that_failed_has_its_curve_alone(sweep: Sweep) -> None:
    unit = one(sweep, "Base / emotion")
    assert unit.stage
    finish(sweep, unit, step(1, 9.0), outcome="diverged")
    write_events(sweep, unit)
    assert [set(values) for _, _, values in scalars(sweep, unit)] == [{"train/loss", "train/learning_rate", "train/step_sec"}]


def test_damaged_predictions_are_not_scored(sweep: Sweep) -> None:
    unit = one(sweep, "Base / sentiment")
    finish(sweep, unit, step(1, 1.5))
    assert isinstance(unit, RunUnit)
    path = record_folder(unit, sweep.folder) / "predictions.parquet"
    whole, data = file_hash(path), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ResultsError) as caught:
        write_events(sweep, unit)
    assert str(caught.value) == (
        f"{path} is damaged: its hash is {file_hash(path)}, and {whole} in the record beside it; "
        f"remove {path.parent}, and the same command makes it again"
    )


def test_a_unit_without_a_record_has_no_events(sweep: Sweep) -> None:
    for unit in sweep.plan.units:
        write_events(sweep, unit)
    assert not (sweep.folder / "tensorboard").exists()


def test_events_are_not_written_again_until_the_records_change(sweep: Sweep) -> None:
    unit = one(sweep, "Base / sentiment")
    folder = sweep.folder / "tensorboard" / folder_name(unit)
    finish(sweep, unit, step(1, 1.5))
    write_events(sweep, unit)
    (path,) = folder.iterdir()
    before = path.stat().st_mtime_ns, path.read_bytes()
    write_events(sweep, unit)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    path.unlink()
    write_events(sweep, unit)
    assert path.read_bytes() == before[1], "no clock in it"
    finish(sweep, unit, step(1, 0.5))
    write_events(sweep, unit)
    assert [path.name for path in folder.iterdir()] != [path.name]
    assert scalars(sweep, unit)[0][2]["train/loss"] == 0.5


def test_the_stand_in_is_marked(sweep: Sweep) -> None:
    unit = one(sweep, "Zero-shot / emotion")
    finish(sweep, unit)
    write_events(sweep, unit)
    (text,) = list(events(sweep.folder / "tensorboard" / folder_name(unit)))[1].summary.value
    assert text.metadata.plugin_data.plugin_name == "text"
    assert text.tensor.string_val[0].decode() == "Zero-shot / emotion\n\n**Stand-in.** generated faces"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Base + Text Aux / emotion, seed 0", "Base + Text Aux, emotion, seed 0 abcdef"),
        ("stage 1: prosody, seed 3", "stage 1 prosody, seed 3 abcdef"),
        ("../../etc\n/ sentiment", "_.._etc_ sentiment abcdef"),
        ("x" * 500, f"{'x' * 120} abcdef"),
    ],
)
def test_a_folder_has_a_readable_name(title: str, name: str) -> None:
    assert folder_name(AnyUnit("run-abcdef0123", title=title)) == name
