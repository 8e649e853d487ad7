"""Outcome of a trial whose process died, and the tag of its placement group."""

from pathlib import Path

import pytest
from making import ablations, tiny_config

from omnimer_ray.execution.capacity import placement_group_tag
from omnimer_ray.execution.failures import FailureKind
from omnimer_ray.execution.handout import Job
from omnimer_ray.execution.tune_trial import classify_dead_trial
from omnimer_ray.machine.profile import MachineProfile, load_profile
from omnimer_ray.model.bases import locate
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.units import RunUnit, record_folder
from omnimer_ray.records import write_record

UNITS = make_plan(ablations(tiny_config())).units


def test_each_unit_of_a_plan_has_a_placement_group_tag_of_its_own() -> None:
    tags = [placement_group_tag(unit, "one") for unit in UNITS]
    assert len(set(tags)) == len(UNITS)
    assert not set(tags) & {placement_group_tag(unit, "another sweep on the same cluster") for unit in UNITS}
    assert all(1 <= tag <= 2**20 for tag in tags)


def test_a_trial_that_died_after_its_record_was_written_is_done(tmp_path: Path) -> None:
    job = Job(tmp_path, tmp_path / "ledgers", tmp_path, locate("tiny"), load_profile("laptop"), "1")
    unit = next(unit for unit in UNITS if isinstance(unit, RunUnit))
    assert classify_dead_trial(job, unit, [], "")["outcome"] == "lost_worker"
    record_folder(unit, tmp_path).mkdir(parents=True)
    write_record(record_folder(unit, tmp_path), {"outcome": "done"})
    assert classify_dead_trial(job, unit, [], "") == {"outcome": "done"}


def job(folder: Path) -> Job:
    return Job(folder, folder, folder, locate("tiny"), MachineProfile(docs="test", micro_batch=8), "1")


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("", "lost_worker", "its process died"),
        ("The actor died unexpectedly.\nThe actor is dead because its worker process has died.", "lost_worker", None),
        ("The actor died unexpectedly.\nThe actor is dead because its node has died. Node Id: 1f", "lost_node", None),
        ("The actor is dead because its owner has died. Worker exit detail: Owner's node has crashed.", "lost_node", None),
        ("It is dead. End of file. Some common causes include: (1) the OOM killer", "lost_worker", "It is dead. End of file."),
        ("2 worker(s) were killed due to the node running low on memory.", "out_of_memory", None),
        ("ray::ImplicitFunc.train()\nomnimer_ray.errors.StorageError: cannot write x", "storage", None),
        ("ValueError: something new", "lost_worker", None),
    ],
)
def test_the_kind_of_a_dead_trial(text: str, kind: str, reason: str | None, tmp_path: Path) -> None:
    result = classify_dead_trial(job(tmp_path), UNITS[0], [], text)
    assert result == {"outcome": kind, "reason": reason or text.splitlines()[-1], "micro_batch": 8}


def test_the_reason_of_a_watchdog_is_used_once(tmp_path: Path) -> None:
    path = tmp_path / ".sweep" / "hung" / f"{UNITS[0].id}.txt"
    path.parent.mkdir(parents=True)
    path.write_text("it took no step")
    attempts = [{"outcome": FailureKind.OUT_OF_MEMORY, "reason": "no more", "micro_batch": 8}]
    assert classify_dead_trial(job(tmp_path), UNITS[0], attempts, "died") == {
        "outcome": "hung",
        "reason": "it took no step",
        "micro_batch": 4,
    }
    assert classify_dead_trial(job(tmp_path), UNITS[0], attempts, "died")["outcome"] == "lost_worker"
