"""Contrasts are registered before the runs, with what they can find; lines are only ever added."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from making import clip, sweep_of

from omnimer_ray import launch
from omnimer_ray.outputs.analysis_inputs import write_plan
from omnimer_ray.outputs.registration import register, to_register
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.records import REGISTRATION, registered, registrations

LABELS = ("negative", "neutral", "positive")
CLIPS = [
    clip(f"{video}_{index}", split=split, sentiment=LABELS[index % 3], emotion=("fear", "neutral", "happiness")[index % 3])
    for split, videos in (("train", "abcd"), ("validation", "efghijklmnop"))
    for video in videos
    for index in range(4)
]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(tmp_path, CLIPS)


def test_a_sweep_registers_its_contrasts_with_their_power_before_it_runs(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnimer_ray.media.prepare.prepare_media", lambda *given: 0)
    monkeypatch.setattr("omnimer_ray.media.prepare.thumbnails", lambda *given: b"")
    write_plan(sweep)
    launch._prepare_clips(sweep, print)
    lines: list[str] = []
    launch._register(sweep, lines.append)
    (line,) = registrations(sweep.folder)
    names = [name for name in sweep.plan.space.variants if name not in ("Base", "Zero-shot", "Zero-shot (forced choice)")]
    assert line["contrasts"] == [[name, "Base"] for name in names]
    assert (line["tasks"], line["seeds"], line["folds"], line["corpus"]) == (["sentiment", "emotion"], [0], None, "c0ffee")
    assert line["power"][0].startswith("sentiment, one split of 12 videos, 1 seed: one contrast finds with 80% power")
    assert any(f"registered {len(names)} contrasts in {sweep.folder / REGISTRATION}" in text for text in lines)
    assert registered(sweep.folder) == line["hash"]
    launch._register(sweep, lambda text: pytest.fail(f"registered again: {text}"))
    assert to_register(sweep) is None


def test_another_question_is_a_further_line(sweep: Sweep) -> None:
    assert registered(sweep.folder) is None
    first = to_register(sweep)
    assert first is not None
    register(sweep.folder, first, [])
    space = replace(sweep.plan.space, contrasts=(("All Aux (Hybrid)", "Base"),))
    second = to_register(sweep._replace(plan=replace(sweep.plan, space=space)))
    assert second is not None
    register(sweep.folder, second, ["Little."])
    texts = (sweep.folder / REGISTRATION).read_text().splitlines()
    assert [json.loads(text)["contrasts"] for text in texts] == [first["contrasts"], [["All Aux (Hybrid)", "Base"]]]
    assert registered(sweep.folder) == registrations(sweep.folder)[1]["hash"]


def test_a_space_without_contrasts_registers_nothing(sweep: Sweep) -> None:
    rows = tuple(row for row in sweep.plan.rows if row.variant == "Base")
    assert to_register(sweep._replace(plan=replace(sweep.plan, rows=rows))) is None
