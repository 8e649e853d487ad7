"""A command's arguments come to a corpus, a base, a recipe, a plan and folders; what stands is read from the folders alone."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import clip, sweep_of

from omnimer_ray.errors import ConfigError, ResultsError
from omnimer_ray.execution.failures import FailureKind, record_failure
from omnimer_ray.machine.profile import PROFILES
from omnimer_ray.model.bases import TINY_FOLDER, find_on_this_node, locate
from omnimer_ray.planning.description import States
from omnimer_ray.planning.identity import ledger_key
from omnimer_ray.planning.items import ledger_hash
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.search_space import Trial
from omnimer_ray.planning.setup import Request, Sweep, check_ledgers, prepare
from omnimer_ray.planning.units import FeatureUnit, Unit, record_folder
from omnimer_ray.records import write_json, write_record
from omnimer_ray.tasks.supervision import build, freeze, missing

CLIPS = (*(clip(f"a_{index}") for index in range(8)), clip("b_1", split="validation"))


def request(folder: Path, **changes: Any) -> Request:
    same = Request("ablations", "mini", "tiny", "laptop", folder, None, None, None, None, (), False, "the command")
    return same._replace(**changes)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(tmp_path, CLIPS)


def supervise(sweep: Sweep, kind: Any, clips: int = 8) -> None:
    answer = '{"sentiment": "neutral", "keywords": [], "explanation": "flat"}'
    ledger = sweep.ledgers / ledger_key(sweep.recipe, kind)
    todo = missing(ledger, kind, CLIPS)[:clips]
    build(lambda some, given, attempt: [answer] * len(some), todo, kind, sweep.recipe, 8, ledger / f"{kind}.0.jsonl", lambda *far: None)
    if not missing(ledger, kind, CLIPS):
        freeze(ledger, kind)


def one(sweep: Sweep, title: str) -> Unit:
    return next(unit for unit in sweep.plan.units if unit.title == title)


def test_planning_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = prepare(request(tmp_path / "results"))
    assert (made.corpus.name, made.base.name, made.recipe.global_batch, len(made.plan.units)) == ("mini", "tiny", 16, 20)
    assert len(made.corpus.split("train")) >= 160
    assert len(made.corpus.split("validation")) >= 80
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "cache" / "omnimer_ray" / "mini").exists()


@pytest.mark.parametrize(
    ("changes", "folder"),
    [
        ({}, "mini-tiny"),
        ({"limit": 64}, "mini-tiny-limit64"),
        ({"limit": 64, "folds": 3}, "mini-tiny-limit64-folds3"),
        ({"seeds": 2}, "mini-tiny"),
    ],
)
def test_every_selection_has_a_folder_of_its_own(tmp_path: Path, shared_cache: Path, changes: dict[str, Any], folder: str) -> None:
    made = prepare(request(tmp_path, **changes))
    assert made.folder == tmp_path / "ablations" / folder
    assert made.ledgers == tmp_path / "ledgers"


def test_seeds_and_folds_reach_the_plan(tmp_path: Path, shared_cache: Path) -> None:
    made = prepare(request(tmp_path, seeds=2, folds=3, limit=64))
    assert {(row.seed, row.fold) for row in made.plan.rows if row.variant == "Base"} == {(s, f) for s in range(2) for f in range(3)}
    assert len(made.corpus.clips) == 64
    assert made.recipe.corpus.folds == 3


def test_paths_are_absolute_in_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/x")
    given = request(Path("r"), space="mine.py", corpus="indomer:~/data", machine="c/box.yml", media=Path("../m"), base="models/tiny")
    assert given.absolute() == given._replace(
        space=f"{tmp_path}/mine.py",
        corpus="indomer:/home/x/data",
        machine=f"{tmp_path}/c/box.yml",
        media=tmp_path / ".." / "m",
        results=tmp_path / "r",
    )
    assert given.absolute().absolute() == given.absolute()
    named = request(tmp_path)
    assert named.absolute() == named


def test_relative_and_absolute_paths_give_the_same_sweep(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep holds absolute paths and a resolved base, whatever directory its workers are in."""
    shutil.copytree(TINY_FOLDER, tmp_path / "models" / "small")
    shutil.copy(Path(__file__).parents[1] / "short_space.py", tmp_path / "mine.py")
    shutil.copy(PROFILES / "laptop.yaml", tmp_path / "box.yaml")
    monkeypatch.chdir(tmp_path)
    made = prepare(request(Path("results"), space="mine.py", machine="box.yaml", base="models/small", limit=48))
    monkeypatch.chdir("/")
    assert made.base == locate(str(tmp_path / "models" / "small"))
    assert find_on_this_node(made.base) == made.base
    assert (made.folder, made.ledgers) == (tmp_path / "results" / "mine" / "mini-small-limit48", tmp_path / "results" / "ledgers")
    assert made.file.path == tmp_path / "mine.py"
    assert prepare(made.request._replace(base=str(made.base.folder))).folder == made.folder


def test_the_error_names_a_limit_that_is_too_small(tmp_path: Path, shared_cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"^corpus: limit: Input should be greater than or equal to 8$"):
        prepare(request(tmp_path, limit=4))


def test_all_is_new_at_first(sweep: Sweep) -> None:
    assert sweep.states() == States(done=0, failed=0, resumable=0, new=20)


def test_states_are_read_from_records_ledgers_and_folders(sweep: Sweep) -> None:
    supervise(sweep, "prosody")
    supervise(sweep, "text_keywords", clips=3)
    done, started, failed = (one(sweep, f"{variant} / sentiment, seed 0") for variant in ("Base", "Base + Text Aux", "All Aux (Hybrid)"))
    record_folder(done, sweep.folder).mkdir(parents=True)
    write_record(record_folder(done, sweep.folder), {"outcome": "done"})
    assert started.stage is not None
    (sweep.folder / "stages" / started.stage.key).mkdir(parents=True)
    record_failure(sweep.folder, failed, FailureKind.DIVERGED, "nan")
    assert sweep.states() == States(done=2, failed=1, resumable=2, new=15)
    assert (sweep.outcome(done), sweep.outcome(started), sweep.outcome(failed)) == ("done", None, "diverged")
    assert sweep.outcome(one(sweep, "supervision: prosody")) == "done"
    assert sweep.outcome(one(sweep, "supervision: text_keywords")) is None


def test_failures_are_forgotten_on_request_and_nothing_else(sweep: Sweep) -> None:
    done, failed = one(sweep, "Base / sentiment, seed 0"), one(sweep, "Zero-shot / emotion")
    record_folder(done, sweep.folder).mkdir(parents=True)
    write_record(record_folder(done, sweep.folder), {"outcome": "done"})
    record_failure(sweep.folder, failed, FailureKind.OUT_OF_MEMORY, "no more")
    sweep.forget_failures()
    assert (sweep.outcome(done), sweep.outcome(failed)) == ("done", None)


def test_with_folds_supervision_is_made_of_every_clip_that_some_fold_trains_on(sweep: Sweep) -> None:
    supervise(sweep, "prosody")
    assert sweep.outcome(one(sweep, "supervision: prosody")) == "done"
    folded = sweep._replace(plan=make_plan(sweep.plan.space, folds=3))
    assert folded.outcome(one(folded, "supervision: prosody")) is None, "b_1 is trained on in two folds of three"


def test_a_search_confirms_base_alone_until_its_trials_have_ended(tmp_path: Path, shared_cache: Path) -> None:
    made = prepare(request(tmp_path, space="search", seeds=2, limit=64))
    assert made.search is not None
    assert [(row.variant, row.seed) for row in made.plan.rows] == [("Base", 1), ("Base", 2)]
    params = {"auxiliaries": "text", "schedule": "multi_stage", "rank": 4, "alpha": 8, "learning_rate": 1e-3}
    rows = [Trial(number, "done", None, params, 0.5, 9, "s", number or None) for number in range(32)]
    write_json(made.folder / "trials.json", {"trials": [row._asdict() for row in rows]})
    assert list(made.make_plan().space.variants) == ["Base", "best 1: text / multi_stage / rank 4 / alpha 8 / rate 0.001"]
    assert prepare(request(tmp_path, space="search", seeds=2, limit=64)).plan.rows == made.make_plan().rows


def test_a_search_has_no_folds(tmp_path: Path, shared_cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--folds 3 does not go with a search: it chooses on a development part and confirms on"):
        prepare(request(tmp_path, space="search", folds=3))


def recorded_stage(sweep: Sweep, ledger: str | None) -> Path:
    """The folder of the only stage that is trained on prosody, recorded with the hash of a ledger."""
    stage = next(stage for stage in sweep.plan.stages.values() if stage.kinds == ("sentiment", "prosody"))
    folder = sweep.folder / "stages" / stage.key
    folder.mkdir(parents=True)
    write_record(folder, {"outcome": "done", "ledger_hash": ledger})
    return folder


def test_the_error_names_a_stage_that_was_trained_on_another_ledger(sweep: Sweep) -> None:
    folder = recorded_stage(sweep, "beef")
    check_ledgers(sweep)
    supervise(sweep, "prosody", 4)
    check_ledgers(sweep)
    supervise(sweep, "prosody")
    with pytest.raises(
        ResultsError,
        match=rf"^{folder} was trained on supervision with hash beef, and .*/ledgers now holds other answers \(hash [0-9a-f]{{16}}\); restore the ledger, or delete that stage",
    ):
        check_ledgers(sweep)


def test_a_stage_that_was_trained_on_this_ledger_or_by_an_earlier_version_is_accepted(sweep: Sweep) -> None:
    supervise(sweep, "prosody")
    folder = recorded_stage(sweep, None)
    check_ledgers(sweep)
    stage = sweep.plan.stages[folder.name]
    write_record(folder, {"outcome": "done", "ledger_hash": ledger_hash(stage, CLIPS, sweep.ledgers)})
    check_ledgers(sweep)


def test_unfinished_ledgers_are_listed_by_folder(sweep: Sweep) -> None:
    before = sweep.unfinished_ledgers(sweep.plan.units)
    supervise(sweep, "prosody")
    assert set(before) - set(sweep.unfinished_ledgers(sweep.plan.units)) == {sweep.ledgers / ledger_key(sweep.recipe, "prosody")}


def test_other_corpora_are_answered_in_the_tasks_that_they_have_labels_for(tmp_path: Path, shared_cache: Path) -> None:
    made = prepare(request(tmp_path, evaluate_on=("mini_zh",)))
    alone = prepare(request(tmp_path))
    (other,) = made.others
    assert (other.name, other.reported, len(other.scored)) == ("mini_zh", "test", 80)
    assert made.notes[:2] == (
        f"runs also answer mini_zh: 80 test clips, fingerprint {other.fingerprint}",
        "emotion is not answered on mini_zh, which has no emotion labels",
    )
    assert made.plan.stages.keys() == alone.plan.stages.keys(), "no stage is trained again"
    signatures = [{row.signature for row in one.plan.rows if row.task == "sentiment"} for one in (made, alone)]
    assert not signatures[0] & signatures[1]
    emotion = [{row.signature for row in one.plan.rows if row.task == "emotion"} for one in (made, alone)]
    assert emotion[0] == emotion[1], "what is not answered is no other run"
    assert made.stand_ins[1] == "generated faces and synthesised speech (mini_zh corpus)"


def test_the_error_names_an_evaluation_that_cannot_be_told_apart_or_pooled(tmp_path: Path, shared_cache: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^--evaluate-on mini: a corpus called 'mini' is answered already; two of one name cannot be told"
    ):
        prepare(request(tmp_path, evaluate_on=("mini",)))
    with pytest.raises(
        ConfigError, match=r"^--evaluate-on does not go with --folds: several models would answer each clip of the other corpus"
    ):
        prepare(request(tmp_path, evaluate_on=("mini_zh",), folds=3))
    with pytest.raises(ConfigError, match=r"unknown corpus 'nowhere'"):
        prepare(request(tmp_path, evaluate_on=("nowhere",)))


def test_a_corpus_with_parts_of_its_own_is_reported_and_searched_on_them(tmp_path: Path, shared_cache: Path) -> None:
    made = prepare(request(tmp_path, corpus="mini_zh"))
    assert made.recipe.corpus.reported == "test"
    assert made.plan.space.tasks == ("sentiment",)
    assert made.dropped == ("emotion is left out: mini_zh has no emotion labels",)
    assert made.notes[0].startswith("80 of 80 test clips share their source video with train")
    assert prepare(request(tmp_path, corpus="mini_zh", limit=60)).notes[0].startswith("16 of 17 test clips share")
    folded = prepare(request(tmp_path, corpus="mini_zh", folds=5))
    assert folded.notes == made.dropped, "folds share no source video"
    (other,) = prepare(request(tmp_path, evaluate_on=("mini_zh",))).others
    assert other.notes == (), "a model that was trained elsewhere has seen none of its videos"
    searched = prepare(request(tmp_path, corpus="mini_zh", space=str(Path(__file__).parents[1] / "small_search.py")))
    assert searched.search is not None
    assert searched.search.development == "own"


def test_gold_labels_of_supervision_are_chosen_on_the_command_line(tmp_path: Path, shared_cache: Path) -> None:
    made = prepare(request(tmp_path, gold="fused"))
    assert made.recipe.supervision.gold == "fused"
    assert made.notes == (
        "auxiliary answers had to agree with the clip's own sentiment, not with that of their modality (supervision.gold: fused)",
    )
    with pytest.raises(ConfigError, match=r"supervision\.gold: Input should be 'modality' or 'fused'"):
        prepare(request(tmp_path, gold="mine"))


def test_networks_on_features_answer_their_own_corpus_alone(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match="--evaluate-on does not go with networks on features, which answer their own corpus alone: Linear, text, Linear, audio",
    ):
        prepare(request(tmp_path, space="methods", evaluate_on=("mini_zh",)))


def test_a_feature_counts_as_done_when_all_its_entries_are_there(tmp_path: Path, shared_cache: Path) -> None:
    made = prepare(request(tmp_path, space="methods", limit=24))
    unit = next(unit for unit in made.plan.units if isinstance(unit, FeatureUnit) and unit.feature.view == "text")
    assert (made.outcome(unit), made.has_started(unit)) == (None, False)
    store = made.store(unit.feature)
    store.fill(made.corpus.clips[:3], lambda clip: np.ones((1, 2), np.float32), lambda done, total: None)
    assert (made.outcome(unit), made.has_started(unit)) == (None, True)
    store.fill(made.corpus.clips, lambda clip: np.ones((1, 2), np.float32), lambda done, total: None)
    assert made.outcome(unit) == "done"
    sound = next(unit for unit in made.plan.units if isinstance(unit, FeatureUnit) and unit.feature.view == "audio")
    made.store(sound.feature).folder.mkdir(parents=True)
    assert made.outcome(sound) is None, "its clips' files are not made before a sweep starts"


def test_files_of_a_persons_own_are_checked_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    space = tmp_path / "mine.py"
    space.write_text(
        f'''"""Mine?"""
from omnimer_ray.feature_config import Feature, Files
from omnimer_ray.fusion_config import Linear, on_features
from omnimer_ray.planning.space import SearchSpace

def space(recipe):
    feature = Feature(encoder=Files(folder={str(tmp_path / "given")!r}), view="audio")
    return SearchSpace(recipe, {{"mine": on_features(recipe, Linear(), {{"audio": feature}})}})
'''
    )
    with pytest.raises(
        ConfigError, match=r"given: clips without a file: 16, .*; each clip needs one file NAME\.safetensors, or list it under 'exclude'"
    ):
        prepare(request(tmp_path / "results", space=str(space), limit=16))
