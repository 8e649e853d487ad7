"""The time that is left comes from what was measured on the same profile, and from nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from making import clip, sweep_of, tiny_config

from omnimer_ray.execution.failures import FailureKind, record_failure
from omnimer_ray.machine.profile import MachineProfile, load_profile, pace
from omnimer_ray.model.bases import locate
from omnimer_ray.planning import forecast
from omnimer_ray.planning.extents import Extent
from omnimer_ray.planning.forecast import Rates, measured, read_costs, seconds
from omnimer_ray.planning.search_space import Search, Trial, drawn_runs
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.records import write_json

LAPTOP = load_profile("laptop")
CLIPS = (*(clip(f"{video}_{index}") for video in "abcd" for index in range(40)), clip("e_1", split="validation"))


def cost(**changes: Any) -> dict[str, Any]:
    same = {"pace": pace(LAPTOP), "startup_sec": 10.0, "training_sec": 60.0, "items": 120, "evaluation_sec": 8.0, "answers": 80}
    return {**same, **changes}


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def test_rates_are_means_over_the_runs_of_the_profile() -> None:
    costs = [cost(), cost(startup_sec=20.0, training_sec=0.0, items=0), cost(pace="another", training_sec=1e9), {"sec": 3, "workers": 1}]
    assert measured(costs, LAPTOP) == Rates(2, 15.0, 0.5, 0.1)


@pytest.mark.parametrize("costs", [[], [{"sec": 3, "workers": 1}], [cost(pace="another")], [cost(items=0)], [cost(answers=0)]])
def test_without_measurements_no_time_is_estimated(costs: list[dict[str, Any]]) -> None:
    assert measured(costs, LAPTOP) is None


def test_profiles_of_another_speed_have_another_pace() -> None:
    profile = MachineProfile(docs="one")
    assert pace(profile) == pace(profile.model_copy(update={"docs": "two", "step_timeout_sec": 1.0}))
    assert pace(profile) != pace(profile.model_copy(update={"micro_batch": 2}))


def test_costs_are_those_of_the_same_corpus_and_base(tmp_path: Path) -> None:
    for place in ("ablations/mini-tiny", "ranks/mini-tiny-limit64", "ranks/mini-tiny-folds5", "ranks/mini-tiny2", "ranks/indomer-tiny"):
        write(tmp_path / place / "runs" / "c0ffee" / "cost.json", {"of": place})
    write(tmp_path / "ablations" / "mini-tiny" / "runs" / "cut" / "cost.json", '{"of": ')
    write(tmp_path / "ablations" / "mini-tiny" / "runs" / "odd" / "cost.json", [])
    write(tmp_path / "search" / "mini-tiny" / "trials" / "runs" / "c0ffee" / "cost.json", {"of": "a trial"})
    found = [entry["of"] for entry in read_costs(tmp_path, "mini-tiny")]
    assert found == ["ablations/mini-tiny", "ranks/mini-tiny-folds5", "ranks/mini-tiny-limit64", "a trial"]


def test_time_is_startup_items_and_answers() -> None:
    assert seconds(Rates(2, 15.0, 0.5, 0.1), [Extent(steps=10, answers=80, batch=12), Extent(0, 80, 0)]) == 15 + 60 + 8 + 15 + 8


def test_recorded_units_take_no_time(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, CLIPS)
    assert forecast.time_left(sweep, 2) == (None, "no measured rates yet: no run of this corpus and base is finished on this profile")
    write(sweep.folder / "runs" / "c0ffee" / "cost.json", cost())
    whole, reason = forecast.time_left(sweep, 2)
    assert whole is not None
    assert reason.endswith(" h, 2 at once, by the rates of 1 finished runs")
    assert forecast.time_left(sweep, None)[0] == 2 * whole
    for unit in sweep.plan.units[3:]:
        record_failure(sweep.folder, unit, FailureKind.DIVERGED, "nan")
    left, reason = forecast.time_left(sweep, None)
    assert left == pytest.approx(3 * (10 + 160 * 0.1)), "three parts of the ledger"
    assert reason == "about 80 s, one after the other, by the rates of 1 finished runs"


NONE = {"auxiliaries": "none", "rank": 8, "alpha": 16, "learning_rate": 2e-3}


def search_of(tmp_path: Path, **changes: Any) -> Sweep:
    """A search without auxiliaries, so that every trial is alike: 5 epochs of 120 or 160 items in batches of 16."""
    search = Search(tiny_config(), **{"num_trials": 6, "subsets": ((),), "num_confirmed": 2, "confirmation_seeds": (1, 2), **changes})
    sweep = sweep_of(tmp_path, CLIPS)._replace(search=search)
    write(sweep.folder / "runs" / "c0ffee" / "cost.json", cost())
    return sweep._replace(plan=sweep.make_plan())


def end_trials(sweep: Sweep, *outcomes: str | None) -> None:
    rows = [Trial(number, outcome, None, NONE, 0.5, 9, f"s{number}", None) for number, outcome in enumerate(outcomes)]
    write_json(sweep.folder / "trials.json", {"trials": [row._asdict() for row in rows]})


def test_the_trials_of_a_search_and_its_confirmed_runs_take_time_too(tmp_path: Path) -> None:
    sweep = search_of(tmp_path)
    trial, run = 10 + 37 * 16 * 0.5 + 40 * 0.1, 10 + 50 * 16 * 0.5 + 1 * 0.1
    left, text = forecast.time_left(sweep, None)
    assert left == pytest.approx(6 * trial + (2 + 2 * 2) * run + 2 * 3 * 0.1), "Base on two seeds, and two confirmed on two seeds"
    assert text.endswith(", by the rates of 1 finished runs, 6 trials included as if none were pruned")
    end_trials(sweep, "done", "pruned", "done", None)
    assert forecast.time_left(sweep, None)[0] == pytest.approx(3 * trial + 6 * run + 2 * 3 * 0.1), "a trial that has not ended counts"
    end_trials(sweep, *["done"] * 6)
    ended = sweep._replace(plan=sweep.make_plan())
    left, text = forecast.time_left(ended, 2)
    assert left == pytest.approx(len(ended.plan.units) * (run + 3 * 0.1) / 2)
    assert "trials" not in text


def test_a_trial_is_estimated_as_the_mean_of_its_options_and_supervision_is_added(tmp_path: Path) -> None:
    plain = search_of(tmp_path / "plain", num_confirmed=1, confirmation_seeds=(1,))
    drawn = search_of(tmp_path / "drawn", num_confirmed=1, confirmation_seeds=(1,), subsets=((), ("text",)))
    less, more = forecast.time_left(plain, None)[0], forecast.time_left(drawn, None)[0]
    assert less is not None
    assert more is not None
    assert more - less > 10 + 160 * 0.1, "a part of the ledger, and longer trials"
    by_schedule = {run.config.schedule: run for runs in drawn_runs(drawn.search or Search(tiny_config())) for run in runs}
    assert set(by_schedule) == {None, "hybrid", "multi_stage"}


def test_the_memory_of_a_search_is_that_of_its_hungriest_trial(tmp_path: Path) -> None:
    def needed(sweep: Sweep) -> float:
        return float(forecast.memory(sweep._replace(base=locate("tiny"))).text.split("about ")[1].split(" GiB")[0])

    assert needed(search_of(tmp_path, ranks=(8, 4000))) > needed(search_of(tmp_path))


def test_the_hungriest_run_of_a_plan_decides(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, CLIPS)
    assert forecast.memory(sweep).text == "the base's config.json is not here, so its memory cannot be estimated"
    sweep = sweep._replace(base=locate("tiny"))
    assert forecast.memory(sweep).text.startswith("a worker needs about 1.")
    elsewhere = sweep._replace(profile=LAPTOP.model_copy(update={"address": "auto"}))
    assert forecast.memory(elsewhere).text.endswith(" GiB of memory, and its machine is not seen from here to compare with")


def test_without_measurements_a_card_whose_peak_is_known_gets_an_estimate_by_arithmetic(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, CLIPS)
    sweep = sweep._replace(base=locate("tiny"), profile=load_profile("rtx3090_x4"))
    left, text = forecast.time_left(sweep, 4)
    assert left is None, "nothing is measured"
    found = re.search(
        r"; by arithmetic, not measured: (\S+) card-hours, (\S+) hours on 4 cards, at 30% of 71 TFLOPS and clips of 5 s", text
    )
    assert found is not None
    assert float(found[1]) == pytest.approx(4 * float(found[2]), rel=0.01)
    twice = sweep._replace(profile=sweep.profile.model_copy(update={"peak_tflops": 142.0}))
    halved = re.search(r"not measured: (\S+) card-hours", forecast.time_left(twice, 4)[1])
    assert halved is not None
    assert float(halved[1]) == pytest.approx(float(found[1]) / 2, rel=0.01)
