"""The two-step check: what is kept, how each entry was made, and that nothing is asked twice."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from making import clip

from omnimer_ray.config import AUXILIARY_OF, Kind
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import ledger_schema
from omnimer_ray.tasks.instructions import WORDS, Style
from omnimer_ray.tasks.supervision import build, eligible, freeze, has_started, is_frozen, missing, read_entries

STYLE = Style("prompt", "en")
KINDS = tuple(AUXILIARY_OF)
Ask = Callable[[Sequence[Clip], Sequence[str | None]], list[str]]


class Base:
    """Answers from a table, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Clip, str | None], str]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, clips: Sequence[Clip], given: Sequence[str | None]) -> list[str]:
        self.asked += [(clip.id, label) for clip, label in zip(clips, given, strict=True)]
        return [self.answer(clip, label) for clip, label in zip(clips, given, strict=True)]


def says(explanation: str = "calm words", **fields: Any) -> str:
    return json.dumps({"keywords": ["tenang"], **fields, "explanation": explanation})


def run(ask: Ask, clips: Sequence[Clip], folder: Path, kind: Kind = "prosody", batch: int = 2, style: Style = STYLE, rank: int = 0) -> None:
    build(ask, missing(folder, kind, clips), kind, style, batch, folder / f"{kind}.{rank}.jsonl", lambda done, total: None)


WRONG = says(sentiment="positive")


@pytest.mark.parametrize(
    ("free", "second", "made", "kept"),
    [
        (says("flat voice", sentiment="neutral"), "never asked", "agreed", "flat voice"),
        (WRONG, says("flat voice"), "constrained", "flat voice"),
        (WRONG, says("flat voice", sentiment="neutral"), "constrained", "flat voice"),
        ("no JSON", says("flat voice"), "constrained", "flat voice"),
        ('{"sentiment": "neutral"}', says("flat voice"), "constrained", "flat voice"),
        (WRONG, says("shrill voice", sentiment="negative"), "rejected", None),
        (WRONG, "still no JSON", "rejected", None),
        (WRONG, says(" "), "rejected", None),
    ],
)
def test_how_an_entry_is_made(tmp_path: Path, free: str, second: str, made: str, kept: str | None) -> None:
    base = Base(lambda clip, given: free if given is None else second)
    run(base, [clip("c_1")], tmp_path)
    entry = read_entries(tmp_path, "prosody")["c_1"]
    assert set(entry) == set(ledger_schema())
    assert (entry["made"], entry["gold"], entry["free_answer"]) == (made, "neutral", free)
    assert entry["answer"] == (None if kept is None else f'{{"sentiment": "neutral", "explanation": "{kept}"}}')
    assert entry["constrained_answer"] == (None if made == "agreed" else second)
    assert base.asked == [("c_1", None)] + [("c_1", "neutral")] * (made != "agreed")


@pytest.mark.parametrize(("free", "read"), [(WRONG, "positive"), ("no JSON", None), (says(sentiment="neutral"), "neutral")])
def test_the_free_answer_is_stored(tmp_path: Path, free: str, read: str | None) -> None:
    run(Base(lambda clip, given: free), [clip("c_1")], tmp_path)
    assert read_entries(tmp_path, "prosody")["c_1"]["free_sentiment"] == read


@pytest.mark.parametrize("kind", KINDS)
def test_each_auxiliary_is_checked_against_its_own_modality(tmp_path: Path, kind: Kind) -> None:
    some = clip("c_1", text_sentiment="negative", video_sentiment="positive", audio_sentiment="neutral", sentiment="negative")
    gold = {"text_keywords": "negative", "facial_expression": "positive", "prosody": "neutral"}[kind]
    run(Base(lambda clip, given: says(sentiment=gold)), [some], tmp_path, kind)
    entry = read_entries(tmp_path, kind)["c_1"]
    assert (entry["made"], entry["gold"], entry["instruction"]) == ("agreed", gold, kind)
    answer = json.loads(str(entry["answer"]))
    assert answer == {"sentiment": gold, "explanation": "calm words"} | ({"keywords": ["tenang"]} if kind == "text_keywords" else {})


def test_labels_are_given_and_written_in_the_answers_language(tmp_path: Path) -> None:
    base = Base(lambda clip, given: says(sentiment="positif") if given is None else says("datar"))
    run(base, [clip("c_1")], tmp_path, style=Style("prompt", "id"))
    entry = read_entries(tmp_path, "prosody")["c_1"]
    assert (entry["made"], entry["free_sentiment"], entry["gold"]) == ("constrained", "positive", "neutral")
    assert entry["answer"] == f'{{"sentiment": "{WORDS["id"]["neutral"]}", "explanation": "datar"}}'


CLIPS = [clip(f"t_{index}") for index in range(7)] + [
    clip("v_1", split="validation"),
    clip("x_1", split="test"),
    clip("n_1", audio_sentiment=None),
]


def test_only_training_clips_with_a_label_are_shown(tmp_path: Path) -> None:
    base = Base(lambda clip, given: WRONG)
    run(base, CLIPS, tmp_path)
    assert {name for name, _ in base.asked} == {f"t_{index}" for index in range(7)} == {clip.id for clip in eligible(CLIPS, "prosody")}
    assert missing(tmp_path, "prosody", CLIPS) == []


def mixed(clip: Clip, given: str | None) -> str:
    """Agreed, constrained and rejected by turns, with text that is not ASCII and a line separator."""
    turn = int(clip.id[2:]) % 3
    if given is None:
        return says(f"tenang\u2028datar é {clip.id}", sentiment="neutral" if turn == 0 else "positive")
    return says(f"nada “datar” \x85 {clip.id}") if turn == 1 else "no"


def test_no_answer_is_generated_twice(tmp_path: Path) -> None:
    base = Base(mixed)
    run(base, CLIPS, tmp_path)
    assert set(Counter(base.asked).values()) == {1}
    run(base, CLIPS, tmp_path)
    assert set(Counter(base.asked).values()) == {1}
    assert Counter(entry["made"] for entry in read_entries(tmp_path, "prosody").values()) == {"agreed": 3, "constrained": 2, "rejected": 2}


def test_a_ledger_cut_anywhere_is_completed(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    run(Base(mixed), CLIPS, whole)
    expected, written = read_entries(whole, "prosody"), (whole / "prosody.0.jsonl").read_bytes()
    for length in range(0, len(written), 29):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / "prosody.0.jsonl").write_bytes(written[:length])
        existing = read_entries(folder, "prosody")
        assert existing.items() <= expected.items()
        base = Base(mixed)
        run(base, CLIPS, folder)
        assert read_entries(folder, "prosody") == expected
        assert {name for name, _ in base.asked} == set(expected) - set(existing)


def test_a_batch_is_written_as_soon_as_it_is_done(tmp_path: Path) -> None:
    base = Base(mixed)

    def dies(clips: Sequence[Clip], given: Sequence[str | None]) -> list[str]:
        if any(clip.id == "t_4" for clip in clips):
            raise KeyboardInterrupt
        return base(clips, given)

    with pytest.raises(KeyboardInterrupt):
        run(dies, CLIPS, tmp_path)
    assert [clip.id for clip in missing(tmp_path, "prosody", CLIPS)] == ["t_4", "t_5", "t_6"]


def test_a_stop_request_takes_effect_between_batches(tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    path = tmp_path / "prosody.0.jsonl"
    todo = missing(tmp_path, "prosody", CLIPS)
    build(Base(mixed), todo, "prosody", STYLE, 3, path, lambda *far: progress.append(far), lambda: len(progress) == 2)
    assert progress == [(3, 7), (6, 7)]
    assert len(read_entries(tmp_path, "prosody")) == 6


def test_workers_write_files_of_their_own(tmp_path: Path) -> None:
    todo = missing(tmp_path, "prosody", CLIPS)
    for rank in range(2):
        build(Base(mixed), todo[rank::2], "prosody", STYLE, 2, tmp_path / f"prosody.{rank}.jsonl", lambda done, total: None)
    run(Base(mixed), CLIPS, tmp_path / "alone")
    assert read_entries(tmp_path, "prosody") == read_entries(tmp_path / "alone", "prosody")
    assert read_entries(tmp_path, "text_keywords") == {}


def frozen(folder: Path, clips: Sequence[Clip] = CLIPS) -> Path:
    run(Base(mixed), clips, folder)
    freeze(folder, "prosody")
    return folder / "prosody.json"


def test_a_finished_part_is_one_file_sorted_by_clip(tmp_path: Path) -> None:
    assert not is_frozen(tmp_path, "prosody", CLIPS)
    run(Base(mixed), CLIPS, tmp_path)
    entries = read_entries(tmp_path, "prosody")
    assert not is_frozen(tmp_path, "prosody", CLIPS), "its workers' files may still grow"
    freeze(tmp_path, "prosody")
    assert is_frozen(tmp_path, "prosody", CLIPS)
    assert [path.name for path in tmp_path.iterdir()] == ["prosody.json"]
    assert read_entries(tmp_path, "prosody") == entries
    assert list(entries) != sorted(entries) or list(read_entries(tmp_path, "prosody")) == sorted(entries)


def test_the_frozen_file_does_not_depend_on_batches_and_workers(tmp_path: Path) -> None:
    frozen(tmp_path / "one")
    todo = missing(tmp_path / "two", "prosody", CLIPS)
    for rank in (1, 0):
        build(Base(mixed), todo[rank::2], "prosody", STYLE, 3, tmp_path / "two" / f"prosody.{rank}.jsonl", lambda done, total: None)
    freeze(tmp_path / "two", "prosody")
    assert (tmp_path / "one" / "prosody.json").read_bytes() == (tmp_path / "two" / "prosody.json").read_bytes()


def test_a_frozen_part_takes_more_clips_and_keeps_its_entries(tmp_path: Path) -> None:
    frozen(tmp_path, CLIPS[:3])
    before = read_entries(tmp_path, "prosody")
    assert not is_frozen(tmp_path, "prosody", CLIPS)
    changed_mind = Base(lambda clip, given: says("another answer", sentiment="neutral"))
    run(changed_mind, CLIPS, tmp_path)
    freeze(tmp_path, "prosody")
    after = read_entries(tmp_path, "prosody")
    assert {name: after[name] for name in before} == before
    assert {name for name, _ in changed_mind.asked}.isdisjoint(before)


def test_a_frozen_part_is_used_instead_of_files_that_a_kill_left_beside_it(tmp_path: Path) -> None:
    frozen(tmp_path)
    expected = read_entries(tmp_path, "prosody")
    (tmp_path / "prosody.0.jsonl").write_text(json.dumps({**expected["t_1"], "answer": "another"}) + "\n")
    assert read_entries(tmp_path, "prosody") == expected
    freeze(tmp_path, "prosody")
    assert read_entries(tmp_path, "prosody") == expected


@pytest.mark.parametrize("damage", [lambda text: text.replace("neutral", "negative", 1), lambda text: "[]", lambda text: "{}"])
def test_the_error_names_a_damaged_frozen_part(tmp_path: Path, damage: Callable[[str], str]) -> None:
    path = frozen(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ResultsError) as raised:
        read_entries(tmp_path, "prosody")
    assert (
        str(raised.value)
        == f"{path} is damaged: its entries do not have the hash that it names; remove it, and the same command makes it again"
    )


def test_it_has_started_with_its_first_file(tmp_path: Path) -> None:
    assert not has_started(tmp_path, "prosody")
    run(Base(mixed), CLIPS[:1], tmp_path)
    assert (has_started(tmp_path, "prosody"), has_started(tmp_path, "text_keywords")) == (True, False)
    freeze(tmp_path, "prosody")
    assert has_started(tmp_path, "prosody")
