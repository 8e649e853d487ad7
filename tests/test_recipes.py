"""A recipe belongs to a base and is complete."""

import pytest
from making import BASE, CORPUS

from omnimer_ray.config import MediaConfig, ThinkerConfig
from omnimer_ray.errors import BaseModelError
from omnimer_ray.planning.description import differences
from omnimer_ray.recipes import RECIPES, omnimer_qwen3b, omnimer_qwen7b, omnimer_tiny, recipe_for


@pytest.mark.parametrize("make", RECIPES.values())
def test_a_recipe_is_bound_to_its_corpus_and_base(make: object) -> None:
    assert callable(make)
    recipe = make(CORPUS, BASE)
    assert isinstance(recipe, ThinkerConfig)
    assert recipe.corpus == CORPUS
    assert (recipe.base.name, recipe.base.revision) == (BASE.name, BASE.revision)


def test_the_papers_numbers_stand() -> None:
    recipe = omnimer_qwen7b(CORPUS, BASE)
    assert (recipe.epochs, recipe.global_batch, recipe.lora.rank, recipe.lora.alpha) == (5, 128, 8, 16)
    assert (recipe.optimizer.learning_rate, recipe.lora.dropout, recipe.loss_average) == (1e-4, 0, "items")
    assert omnimer_qwen3b(CORPUS, BASE) == recipe


def test_the_plan_can_print_every_line_in_which_the_tiny_recipe_differs() -> None:
    paper, tiny = omnimer_qwen7b(CORPUS, BASE), omnimer_tiny(CORPUS, BASE)
    lines = differences(paper=paper, recipe=tiny)
    assert f"global_batch: {tiny.global_batch} (paper: 128)" in lines
    assert {line.split(":")[0].split(".")[0] for line in lines} == {"global_batch", "optimizer", "media", "supervision"}
    assert differences(paper=paper, recipe=paper) == []


def test_the_tiny_media_budget_is_sixteen_tokens_a_second() -> None:
    media: MediaConfig = omnimer_tiny(CORPUS, BASE).media
    tokens_of_a_pair_of_frames = media.max_pixels // 28**2
    assert media.min_pixels == media.max_pixels
    assert tokens_of_a_pair_of_frames * media.frames_per_second / 2 == 16


def test_a_recipe_is_found_by_the_width_of_its_base() -> None:
    assert recipe_for("tiny", 128) is omnimer_tiny
    assert recipe_for("Qwen/Qwen2.5-Omni-7B", 3584) is omnimer_qwen7b


def test_a_base_without_a_recipe_is_refused() -> None:
    with pytest.raises(BaseModelError) as raised:
        recipe_for("mine", 1024)
    assert str(raised.value) == (
        "base 'mine': there is no recipe for a language model of width 1024, only for 128, 2048, 3584; "
        "add one to RECIPES in omnimer_ray/recipes.py"
    )


def test_a_base_of_unknown_width_is_refused() -> None:
    with pytest.raises(BaseModelError) as raised:
        recipe_for("some/omni", None)
    assert str(raised.value) == (
        "base 'some/omni' is not downloaded, and its recipe depends on the width in its config.json; "
        "run `hf download some/omni` and the same command again"
    )
