"""The two-step check: what is kept, how each entry was made, and that nothing is asked twice."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from making import clip, tiny_config

from omnimer_ray.config import AUXILIARY_OF, Kind, ThinkerConfig, content_hash
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import ledger_schema, write_json
from omnimer_ray.tasks.instructions import WORDS, Style, prompts_hash
from omnimer_ray.tasks.supervision import (
    TRAINED_ON,
    Ask,
    build,
    eligible,
    freeze,
    has_started,
    is_frozen,
    missing,
    read_entries,
    seed_of,
    shard_of,
)

CONFIG = tiny_config()
KINDS = tuple(AUXILIARY_OF)


class Base:
    """Answers from a table, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Clip, str | None], str]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, clips: Sequence[Clip], given: Sequence[str | None], attempt: int = 0) -> list[str]:
        self.asked += [(clip.id, label) for clip, label in zip(clips, given, strict=True)]
        return [self.answer(clip, label) for clip, label in zip(clips, given, strict=True)]


def says(explanation: str = "calm words", **fields: Any) -> str:
    return json.dumps({"keywords": ["tenang"], **fields, "explanation": explanation})


def run(
    ask: Ask, clips: Sequence[Clip], folder: Path, kind: Kind = "prosody", batch: int = 2, config: ThinkerConfig = CONFIG, rank: int = 0
) -> None:
    build(ask, missing(folder, kind, clips), kind, config, batch, folder / f"{kind}.{rank}.jsonl", lambda done, total: None)


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
    run(base, [clip("c_1")], tmp_path, config=tiny_config(answer_language="id"))
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

    def dies(clips: Sequence[Clip], given: Sequence[str | None], attempt: int) -> list[str]:
        if any(clip.id == "t_4" for clip in clips):
            raise KeyboardInterrupt
        return base(clips, given, attempt)

    with pytest.raises(KeyboardInterrupt):
        run(dies, CLIPS, tmp_path)
    assert [clip.id for clip in missing(tmp_path, "prosody", CLIPS)] == ["t_4", "t_5", "t_6"]


def test_a_stop_request_takes_effect_between_batches(tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    path = tmp_path / "prosody.0.jsonl"
    todo = missing(tmp_path, "prosody", CLIPS)
    build(Base(mixed), todo, "prosody", CONFIG, 3, path, lambda *far: progress.append(far), lambda: len(progress) == 2)
    assert progress == [(3, 7), (6, 7)]
    assert len(read_entries(tmp_path, "prosody")) == 6


def test_workers_write_files_of_their_own(tmp_path: Path) -> None:
    todo = missing(tmp_path, "prosody", CLIPS)
    for rank in range(2):
        build(Base(mixed), todo[rank::2], "prosody", CONFIG, 2, tmp_path / f"prosody.{rank}.jsonl", lambda done, total: None)
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
        build(Base(mixed), todo[rank::2], "prosody", CONFIG, 3, tmp_path / "two" / f"prosody.{rank}.jsonl", lambda done, total: None)
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


class Attempts(Base):
    """Answers from a list for each step, one for every attempt; the last one again and again."""

    def __init__(self, free: Sequence[str], given: Sequence[str] = ()) -> None:
        super().__init__(lambda clip, label: "")
        self.free, self.given = free, given
        self.batches: list[tuple[list[str], bool, int]] = []

    def __call__(self, clips: Sequence[Clip], given: Sequence[str | None], attempt: int = 0) -> list[str]:
        texts = self.free if given[0] is None else self.given
        self.batches.append(([clip.id for clip in clips], given[0] is not None, attempt))
        return [texts[min(attempt, len(texts) - 1)]] * len(clips)


RIGHT = says("flat voice", sentiment="neutral")
AGAINST = says("shrill voice", sentiment="negative")
LEAK = says("The sentiment is neutral because the given label is neutral.", sentiment="neutral")
HONEST = says("The words 'tenang' and 'biasa saja' show no strong feeling.", sentiment="neutral")


@pytest.mark.parametrize(
    ("free", "given", "made", "why", "attempts", "decoding"),
    [
        ([RIGHT], [], "agreed", None, 1, "greedy"),
        (["no", RIGHT], [], "agreed", None, 2, "sampled at temperature 0.7"),
        (["no", "no", "no", RIGHT], [RIGHT], "constrained", "no JSON as asked for", 4, "greedy"),
        ([WRONG, RIGHT], [RIGHT], "constrained", "another label", 2, "greedy"),  # a base that disagrees is not asked until it agrees
        (["no", WRONG], [AGAINST, says("flat voice")], "constrained", "another label", 4, "sampled at temperature 0.7"),
        ([WRONG], [AGAINST], "rejected", "another label", 4, "sampled at temperature 0.7"),
        ([WRONG], ["no"], "rejected", "no JSON as asked for", 4, "sampled at temperature 0.7"),
    ],
)
def test_an_unusable_answer_is_sampled_again(
    tmp_path: Path, free: list[str], given: list[str], made: str, why: str | None, attempts: int, decoding: str
) -> None:
    config = tiny_config(supervision__retries=2, supervision__temperature=0.7)
    run(Attempts(free, given), [clip("c_1")], tmp_path, config=config)
    entry = read_entries(tmp_path, "prosody")["c_1"]
    assert (entry["made"], entry["why"], entry["attempts"], entry["decoding"]) == (made, why, attempts, decoding)
    assert (entry["answer"] is None) == (made == "rejected")


def test_without_retries_nothing_is_sampled(tmp_path: Path) -> None:
    base = Attempts(["no", RIGHT], ["no", RIGHT])
    run(base, [clip("c_1")], tmp_path)
    assert base.batches == [(["c_1"], False, 0), (["c_1"], True, 0)]
    entry = read_entries(tmp_path, "prosody")["c_1"]
    assert (entry["made"], entry["attempts"], entry["decoding"]) == ("rejected", 2, "greedy")


def test_an_entry_says_which_prompts_and_which_base_made_it(tmp_path: Path) -> None:
    run(Attempts([RIGHT]), [clip("c_1")], tmp_path)
    entry = read_entries(tmp_path, "prosody")["c_1"]
    assert entry["base_revision"] == CONFIG.base.revision
    assert entry["prompts"] == prompts_hash(["prosody"], Style.of(CONFIG), supervision=True)


@pytest.mark.parametrize(
    ("setting", "free", "why"),
    [
        ("keywords_must_occur", says(sentiment="neutral", keywords=["tenang", "marah"]), "keyword not in the transcript: marah"),
        ("leak_guard", LEAK, "says that the label was given"),
    ],
)
def test_a_check_makes_an_answer_unusable(tmp_path: Path, setting: str, free: str, why: str) -> None:
    calm = clip("c_1", text="saya tenang, biasa saja")
    second = says("The words 'tenang' and 'biasa saja' show no strong feeling.")
    for value in (False, True):
        folder, config = tmp_path / str(value), tiny_config(**{f"supervision__{setting}": value, "auxiliaries": {"text"}})
        run(Attempts([free], [second]), [calm], folder, "text_keywords", config=config)
        entry = read_entries(folder, "text_keywords")["c_1"]
        assert (entry["made"], entry["why"]) == (("constrained", why) if value else ("agreed", None))


def test_a_sample_has_a_seed_of_what_is_asked() -> None:
    seeds = {
        seed_of(some, kind, given, attempt)
        for some in (clip("a_1"), clip("a_2"))
        for kind in KINDS
        for given in (None, "neutral")
        for attempt in (1, 2)
    }
    assert len(seeds) == 2 * 3 * 2 * 2


def test_shards_share_out_all_clips_and_give_the_same_part(tmp_path: Path) -> None:
    many = [clip(f"t_{index}") for index in range(40)]
    shards = [[one for one in many if shard_of(one.id, 3) == shard] for shard in range(3)]
    assert sorted(one.id for shard in shards for one in shard) == sorted(one.id for one in many)
    assert all(5 < len(shard) < 25 for shard in shards)
    for number, shard in enumerate(shards):
        build(
            Base(mixed),
            missing(tmp_path, "prosody", shard),
            "prosody",
            CONFIG,
            4,
            tmp_path / f"prosody.{number}.0.jsonl",
            lambda *far: None,
        )
    freeze(tmp_path, "prosody")
    assert (tmp_path / "prosody.json").read_bytes() == frozen(tmp_path / "one", many).read_bytes()


def test_an_entry_of_before_the_added_columns_is_read(tmp_path: Path) -> None:
    path = frozen(tmp_path)
    old = [{name: entry[name] for name in TRAINED_ON} for entry in read_entries(tmp_path, "prosody").values()]
    write_json(path, {"hash": content_hash(old), "entries": old})
    assert [entry.get("why") for entry in read_entries(tmp_path, "prosody").values()] == [None] * 7
