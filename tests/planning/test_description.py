"""The plan as a person reads it before anything starts."""

from dataclasses import replace

from making import ablations, clip, paper_config, tiny_config

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.model.bases import TINY_NOTICE, Base
from omnimer_ray.planning import description
from omnimer_ray.planning.description import States, differences, lines, log_all, search_lines, summary, variant_lines
from omnimer_ray.planning.plan import make_plan
from omnimer_ray.planning.search_space import Search, Trial
from omnimer_ray.planning.space import SearchSpace

CLIPS = tuple(clip(f"a_{index}") for index in range(40)) + tuple(clip(f"b_{index}", split="validation") for index in range(8))
CORPUS = Corpus("mini", CLIPS, "c0ffee", stand_in="generated faces")
BASE = Base("tiny", None, "beef", TINY_NOTICE, 128)
NEW = States(done=0, failed=0, resumable=0, new=18)


def plan_lines(states: States = NEW, at_once: int | None = 2, corpus: Corpus = CORPUS) -> list[str]:
    recipe = tiny_config()
    return lines(make_plan(ablations(recipe)), corpus, (), BASE, paper_config(), states, at_once)


def test_corpus_and_base_are_named_and_stand_ins_are_marked() -> None:
    assert plan_lines()[:4] == [
        "corpus   mini: 40 train clips of 1 videos, 8 validation clips of 1 videos; fingerprint c0ffee",
        "         STAND-IN: generated faces",
        "base     tiny, revision beef",
        f"         STAND-IN: {TINY_NOTICE}",
    ]
    assert "STAND-IN" not in "".join(plan_lines(corpus=replace(CORPUS, stand_in=None))[:2])


def test_warnings_about_the_corpus_are_printed_and_a_long_list_is_cut() -> None:
    assert "warning" not in "".join(plan_lines())
    assert plan_lines(corpus=replace(CORPUS, warnings=("a", "b")))[2:4] == ["         warning: a", "         warning: b"]
    many = plan_lines(corpus=replace(CORPUS, warnings=tuple("abcdefgh")))
    assert many[6:8] == ["         warning: e", "         warning: 3 more; python -m omnimer_ray.corpora check lists them"]


def test_every_line_in_which_the_recipe_differs_from_the_papers_is_printed() -> None:
    found = differences(paper=paper_config(), recipe=tiny_config())
    place = plan_lines().index(f"recipe   {len(found)} settings differ from the 7B's recipe:")
    assert plan_lines()[place + 1 : place + 1 + len(found)] == [f"         {line}" for line in found]
    assert plan_lines()[place + 1 + len(found)] == ""
    assert differences(paper=paper_config(), recipe=paper_config()) == []


def test_only_values_that_the_paper_states_are_attributed_to_the_paper() -> None:
    other = paper_config(lora__rank=16, epochs=3, global_batch=16, optimizer__learning_rate=0.005, lora__alpha=32)
    assert differences(paper=paper_config(), recipe=other) == [
        "epochs: 3.0 (paper: 5.0)",
        "global_batch: 16 (paper: 128)",
        "optimizer.learning_rate: 0.005 (7B's recipe: 0.0001, assumed)",
        "lora.rank: 16 (paper: 8)",
        "lora.alpha: 32 (7B's recipe: 16, assumed)",
    ]


def test_a_variants_line_has_runs_steps_items_and_differences() -> None:
    assert variant_lines(make_plan(ablations(tiny_config())), CORPUS) == [
        "  Zero-shot                  2 x 0 steps, 0 items  training=False",
        "  Zero-shot (forced choice)  2 x 0 steps, 0 items  training=False, evaluation.decoding=constrained",
        "  Base                       2 x 12 steps, 192 items  the baseline",
        "  Base + Text Aux            2 x 25 steps, 400 items  auxiliaries={text}",
        "  Base + Visual Aux          2 x 25 steps, 400 items  auxiliaries={video}",
        "  Base + Audio Aux           2 x 25 steps, 400 items  auxiliaries={audio}",
        "  All Aux (Multi-stage)      2 x 49 steps, 784 items  auxiliaries={audio, text, video}, schedule=multi_stage",
        "  All Aux (Hybrid)           2 x 50 steps, 800 items  auxiliaries={audio, text, video}, schedule=hybrid",
    ]


def test_the_plan_in_one_line() -> None:
    plan = make_plan(ablations(tiny_config()))
    text = "12 trained runs in 13 stages (1 shared), 4 zero-shot evaluations, 3 parts of the supervision ledger"
    assert summary(plan) == text
    assert f"plan     {text}" in plan_lines()
    assert summary(make_plan(space(tiny_config()))) == "1 trained runs in 1 stages (0 shared), 0 zero-shot evaluations"


def space(recipe: ThinkerConfig) -> SearchSpace:
    return SearchSpace(recipe, {"Base": {}, "again": {"schedule": "multi_stage"}}, tasks=("sentiment",), grid=True)


def test_counts_of_recorded_resumable_and_new_units() -> None:
    assert plan_lines()[-1] == "         0 units recorded, 0 to resume, 18 new; 2 at once"
    states = States(done=5, failed=2, resumable=1, new=10)
    assert plan_lines(states, at_once=None)[-1] == "         5 units recorded, 1 to resume, 10 new, 2 recorded as failed"


def test_merged_variants_are_reported_and_have_no_line() -> None:
    plan = make_plan(space(tiny_config()))
    assert len(variant_lines(plan, CORPUS)) == 1
    assert lines(plan, CORPUS, (), BASE, paper_config(), NEW, 1)[-1] == "         merged: variant 'again' is the same run as 'Base'"


def test_lines_are_logged_one_by_one() -> None:
    logged: list[str] = []
    log_all(["a", "b"], logged.append)
    assert logged == ["a", "b"]
    assert description.lines is lines


SEARCHED = Corpus("mini", tuple(clip(f"{video}_{index}") for video in "abcd" for index in range(3)), "c0ffee")


def test_a_search_describes_its_space_and_its_objective() -> None:
    search = Search(tiny_config(), num_trials=9, subsets=((), ("text",)), ranks=(4, 8), development=2)
    trials = [Trial(n, outcome, None, {}, None, None, None, None) for n, outcome in enumerate(["done", "out_of_memory", "done", None])]
    assert search_lines(search, SEARCHED, trials) == [
        "search   9 trials of emotion: 2 subsets, ranks 4, 8, alphas 8, 16, 32, 64, rates 0.0005 to 0.015",
        "         trained on 6 train clips of 2 videos, scored on 6 development clips of 2 videos; none sees a validation clip",
        "         pruned at 25%, 50% of a stage unless in the best 1/3",
        "         4 of 9 trials drawn: 2 done, 1 not finished, 1 out of memory; then the best 3, and the best with and without auxiliaries, beside Base on seeds 1, 2, 3",
    ]
    assert search_lines(replace(search, rungs=()), SEARCHED, [])[2:] == [
        "         no pruning",
        "         0 of 9 trials drawn; then the best 3, and the best with and without auxiliaries, beside Base on seeds 1, 2, 3",
    ]
