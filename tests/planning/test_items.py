"""A stage's items: from gold labels and ledger entries, with weights and a mixture; and the hash of the entries."""

import json
from pathlib import Path
from typing import Any

import pytest
from making import clip, tiny_config

from omnimer_ray.config import Kind
from omnimer_ray.corpora.select import fraction_of
from omnimer_ray.errors import ConfigError, ResultsError
from omnimer_ray.planning.identity import ledger_key
from omnimer_ray.planning.items import ledger_hash, make_schedule, on_one_cosine
from omnimer_ray.planning.plan import make_run
from omnimer_ray.planning.units import Stage
from omnimer_ray.training.schedule import Item

CLIPS = [
    clip("a_1", emotion="fear", sentiment="negative"),
    clip("a_2"),
    clip("a_3"),
    clip("a_4", emotion=None, sentiment=None),
    clip("b_1", split="validation"),
]


def stage(index: int = 0, **changes: Any) -> Stage:
    return make_run(tiny_config(epochs=20, **changes)).stages[index]


def ledger(folder: Path, kind: Kind, answers: dict[str, str | None]) -> Path:
    folder = folder / ledger_key(tiny_config(), kind)
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"clip": name, "answer": answer}) for name, answer in answers.items()]
    (folder / f"{kind}.0.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_main_items_are_training_clips_with_their_labels(tmp_path: Path) -> None:
    assert make_schedule(stage(task="emotion"), CLIPS, tmp_path).items == {
        "emotion": (
            Item("a_1", "emotion", '{"sentiment": "negative", "emotion": "fear"}'),
            Item("a_2", "emotion", '{"sentiment": "neutral", "emotion": "neutral"}'),
            Item("a_3", "emotion", '{"sentiment": "neutral", "emotion": "neutral"}'),
        )
    }


def test_the_answer_follows_hierarchy_and_language(tmp_path: Path) -> None:
    flat = make_schedule(stage(task="emotion", hierarchy="none", answer_language="id"), CLIPS[:1], tmp_path)
    assert flat.items["emotion"][0].answer == '{"emotion": "ketakutan"}'


def test_auxiliary_items_are_the_accepted_entries(tmp_path: Path) -> None:
    ledger(tmp_path, "prosody", {"a_1": "one", "a_2": None, "a_3": "three", "a_4": "four", "b_1": "validation"})
    schedule = make_schedule(stage(auxiliaries={"audio"}), CLIPS, tmp_path)
    assert schedule.items["prosody"] == (Item("a_1", "prosody", "one"), Item("a_3", "prosody", "three"), Item("a_4", "prosody", "four"))
    assert len(schedule.items["sentiment"]) == 3


def test_a_stage_contains_only_its_own_kinds(tmp_path: Path) -> None:
    ledger(tmp_path, "prosody", dict.fromkeys(("a_1", "a_2", "a_3", "a_4"), "said"))
    multi: dict[str, Any] = {"auxiliaries": {"audio"}, "schedule": "multi_stage"}
    first, second = (make_schedule(stage(index, **multi), CLIPS, tmp_path) for index in (0, 1))
    assert (set(first.items), first.stage_position) == ({"prosody"}, 0)
    assert (set(second.items), second.stage_position) == ({"sentiment"}, 1)


def test_the_error_names_a_kind_without_an_accepted_entry(tmp_path: Path) -> None:
    ledger(tmp_path, "prosody", dict.fromkeys(("a_1", "a_2", "a_3", "a_4")))
    with pytest.raises(ConfigError, match=r"^no training items for prosody; every one was rejected or has no label"):
        make_schedule(stage(auxiliaries={"audio"}), CLIPS, tmp_path)


@pytest.mark.parametrize(("balance", "weights"), [("none", [1.0, 1.0, 1.0]), ("inverse_frequency", [1.5, 0.75, 0.75])])
def test_balanced_classes_weigh_the_same_in_an_epoch(tmp_path: Path, balance: str, weights: list[float]) -> None:
    schedule = make_schedule(stage(class_balance=balance), CLIPS, tmp_path)
    assert [item.weight for item in schedule.items["sentiment"]] == weights
    assert sum(weights) == 3, "the mean weight is 1, whatever the balance"


def test_a_mixture_reaches_the_stage_that_mixes(tmp_path: Path) -> None:
    ledger(tmp_path, "prosody", dict.fromkeys(("a_1", "a_2", "a_3", "a_4"), "said"))
    mixed: dict[str, Any] = {"auxiliaries": {"audio"}, "mixture": {"sentiment": 1.0, "prosody": 3.0}}
    assert make_schedule(stage(**mixed), CLIPS, tmp_path).mixture == {"prosody": 1.0, "sentiment": 1 / 3}
    assert make_schedule(stage(1, schedule="multi_stage", **mixed), CLIPS, tmp_path).mixture is None


def test_a_stages_ledger_hash_is_of_the_entries_that_it_is_trained_on(tmp_path: Path) -> None:
    answers: dict[str, str | None] = dict.fromkeys(("a_1", "a_2", "a_3", "a_4"), "said")
    hashes = []
    for name, answered in (("one", answers), ("more", {**answers, "c_1": "said"}), ("other", {**answers, "a_1": "shouted"})):
        (tmp_path / name).mkdir()
        ledger(tmp_path / name, "prosody", answered)
        hashes.append(ledger_hash(stage(auxiliaries={"audio"}), CLIPS, tmp_path / name))
    assert hashes[0] == hashes[1] != hashes[2]
    assert ledger_hash(stage(), CLIPS, tmp_path / "one") is None


def test_the_error_names_an_incomplete_ledger(tmp_path: Path) -> None:
    folder = ledger(tmp_path, "prosody", {"a_1": "said"})
    with pytest.raises(ResultsError) as raised:
        ledger_hash(stage(auxiliaries={"audio"}), CLIPS, tmp_path)
    assert str(raised.value) == f"{folder} has no prosody entry of clip a_2; the same command makes it again"


def test_a_fraction_of_train_gives_its_items_alone(tmp_path: Path) -> None:
    ledger(tmp_path, "prosody", dict.fromkeys(("a_1", "c_1", "d_1", "e_1"), "said"))
    clips = [clip(name) for name in ("a_1", "c_1", "d_1", "e_1")]
    half = make_schedule(stage(auxiliaries={"audio"}, train_fraction=0.5), clips, tmp_path)
    kept = [one.id for one in fraction_of(clips, tiny_config(train_fraction=0.5))]
    assert len(kept) == 2
    assert {kind: [item.clip for item in found] for kind, found in half.items.items()} == {"sentiment": kept, "prosody": kept}


def test_balanced_sampling_takes_the_labels_of_the_main_items(tmp_path: Path) -> None:
    ledger(tmp_path, "prosody", dict.fromkeys(("a_1", "a_2", "a_3", "a_4"), "said"))
    schedule = make_schedule(stage(auxiliaries={"audio"}, class_balance="sampling"), CLIPS, tmp_path)
    assert schedule.balanced == {"sentiment": ("negative", "neutral", "neutral")}
    assert {item.weight for item in schedule.items["sentiment"]} == {1.0}
    first = make_schedule(stage(auxiliaries={"audio"}, class_balance="sampling", schedule="multi_stage"), CLIPS, tmp_path)
    assert first.balanced == {}


def test_matched_steps_count_the_accepted_answers_that_are_not_trained(tmp_path: Path) -> None:
    ledger(tmp_path, "prosody", {"a_1": "one", "a_2": None, "a_3": "three", "a_4": "four"})
    hybrid = make_schedule(stage(auxiliaries={"audio"}), CLIPS, tmp_path)
    base = make_schedule(stage(steps=("audio",)), CLIPS, tmp_path)
    assert set(base.items) == {"sentiment"}
    assert base.num_steps == hybrid.num_steps == 6 * 20 // 16
    assert make_schedule(stage(), CLIPS, tmp_path).num_steps == 3 * 20 // 16
    assert make_schedule(stage(steps=5), CLIPS, tmp_path).num_steps == 5


def test_each_stage_has_its_own_epochs_and_its_place_on_one_cosine(tmp_path: Path) -> None:
    ledger(tmp_path, "prosody", dict.fromkeys(("a_1", "a_2", "a_3", "a_4"), "said"))
    changes: dict[str, Any] = {"auxiliaries": {"audio"}, "schedule": "multi_stage", "epochs": (8.0, 16.0), "optimizer__one_cosine": True}
    stages = make_run(tiny_config(**changes)).stages
    plain = [make_schedule(one, CLIPS, tmp_path) for one in stages]
    assert [one.num_steps for one in plain] == [2, 3]
    placed = [on_one_cosine(one, its, CLIPS, tmp_path) for one, its in zip(stages, plain, strict=True)]
    assert [(one.first_step, one.all_steps) for one in placed] == [(0, 5), (2, 5)]
    assert [one.items for one in placed] == [one.items for one in plain]
