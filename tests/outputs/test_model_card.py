"""A model card says what an adapter is, where each setting comes from, what it scores and how it is loaded; nothing in it moves."""

import re
from pathlib import Path
from typing import Any

import pytest
from making import STAGE_RECORD, clip, finish, step, sweep_of, tiny_config

from omnimer_ray import config as config_module
from omnimer_ray.metrics import scores
from omnimer_ray.model.bases import Base
from omnimer_ray.outputs.model_card import card, loading, write_card
from omnimer_ray.planning.plan import make_run
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import RunUnit, Stage
from omnimer_ray.recipes import GIVEN
from omnimer_ray.records import read_record, write_record

TINY = Base("tiny", Path("/here/weights"), "beef", "the tiny Thinker")
HUB = Base("Qwen/Qwen2.5-Omni-7B", Path("/cache/ae9e"), "ae9e", None)
SCORES = scores(gold=["neutral", "neutral", "fear"], predicted=["neutral", "anger", None], labels=("neutral", "anger", "fear"))


def stage(index: int = 0, **changes: Any) -> Stage:
    return make_run(tiny_config(**{"task": "emotion", "auxiliaries": {"audio"}, **changes})).stages[index]


def text(stage: Stage, base: Base = TINY, **scored: Any) -> str:
    return card("Base + Audio Aux / emotion, seed 0", stage, STAGE_RECORD, base, (base.stand_in,) if base.stand_in else (), scored)


def section(page: str, name: str) -> str:
    return page.split(f"\n## {name}\n\n")[1].split("\n## ")[0].strip()


def test_the_card_describes_the_adapter() -> None:
    one = stage()
    assert text(one).split("\n## ")[0] == (
        "---\nlibrary_name: peft\ntags:\n- lora\n- omnimer_ray\n---\n\n"
        "# Base + Audio Aux / emotion, seed 0\n\n"
        "> **Stand-in.** the tiny Thinker. Its numbers show that the machine works, not what helps recognition.\n\n"
        "A LoRA adapter for the Thinker of Qwen2.5-Omni, trained by omnimer_ray after OmniMER (arXiv 2512.19379).\n\n"
        "|  |  |\n| :-- | :-- |\n"
        f"| stage | `{one.key}`, seed 0 |\n"
        "| base | tiny, contents `beef`, fp32 |\n"
        "| corpus | mini, fingerprint `c0ffee` |\n"
        "| trained on | emotion (160 items), prosody (150 items) |\n"
        "| steps | 96 of 16 items |\n"
        "| adapter | LoRA on 16 language projections |\n"
    )


def test_scores_have_their_supports() -> None:
    assert section(text(stage(), **{"Base / emotion": SCORES}), "Scores") == (
        "Base / emotion, on 3 held-out clips: accuracy 0.333, macro F1 0.222, weighted F1 0.444, UAR 0.250; "
        "1 answers were no label, and count as wrong.\n\n"
        "| class | clips | precision | recall | F1 |\n| :-- | --: | --: | --: | --: |\n"
        "| neutral | 2 | 1.000 | 0.500 | 0.667 |\n| anger | 0 | 0.000 | 0.000 | 0.000 |\n| fear | 1 | 0.000 | 0.000 | 0.000 |"
    )
    assert section(text(stage()), "Scores").startswith("Not evaluated")


def settings(one: Stage) -> dict[str, tuple[str, str]]:
    lines = [line.strip("| ").split(" | ") for line in section(text(one), "Settings").splitlines() if line.startswith("| ")]
    return {name: (value, source) for name, value, source in lines[2:]}


def test_every_setting_has_its_source() -> None:
    values = settings(stage(epochs=4, lora__rank=8))
    assert values["lora.rank"] == ("8", "[P]")
    assert values["epochs"] == ("4.0", "the paper's: 5.0 [P]")
    assert values["global_batch"] == ("16", "the paper's: 128 [P]")
    assert values["optimizer.learning_rate"] == ("0.005", "[A]")
    assert values["supervision.max_new_tokens"] == ("64", "[A]")
    assert not {"seed", "corpus.name", "task"} & set(values)


def test_an_auxiliary_stage_knows_no_main_task() -> None:
    first, second = (stage(index, schedule="multi_stage") for index in (0, 1))
    assert "hierarchy" not in settings(first)
    assert "hierarchy" in settings(second)
    assert "emotion recognition" not in section(text(first), "Ask")
    assert f"it was trained further from the adapter `{first.key}`" in text(second)


def test_the_marks_are_those_of_the_config() -> None:
    """`# [P]` and `# [A]` stand beside the fields of config.py; what is not marked [P] there is not called the paper's."""
    source = Path(config_module.__file__).read_text(encoding="utf-8")
    marked = set(re.findall(r"^    (\w+): .*# .*\[P\b", source, re.MULTILINE))
    assert {name.rpartition(".")[2] for name in GIVEN} == marked == {"epochs", "global_batch", "rank"}


def test_a_base_of_the_hub_is_pinned_to_its_commit() -> None:
    page = text(stage(), HUB)
    assert page.startswith("---\nlibrary_name: peft\nbase_model: Qwen/Qwen2.5-Omni-7B\n")
    assert "Stand-in" not in page
    assert "| base | Qwen/Qwen2.5-Omni-7B, commit `ae9e`, fp32 |" in page
    assert loading(stage(base__precision="bf16"), HUB).splitlines()[4:] == [
        "base = 'Qwen/Qwen2.5-Omni-7B'",
        "thinker = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(base, revision='ae9e', dtype=torch.bfloat16)",
        'model = PeftModel.from_pretrained(thinker, ".").eval()  # the folder of this card',
        "processor = Qwen2_5OmniProcessor.from_pretrained(base, revision='ae9e')",
    ]


@pytest.mark.parametrize("name", ["my_omni", "tiny"])
def test_the_base_of_a_folder_is_identified_by_its_contents(name: str) -> None:
    """Also a folder of the name of the base that comes with the package."""
    lines = loading(stage(), Base(name, Path(f"/here/{name}"), "beef", None)).splitlines()
    assert lines[4] == f"base = '{name}'  # the folder whose contents have the hash beef"
    assert not any("/here" in line or "revision" in line for line in lines)


def test_the_card_contains_the_prompt() -> None:
    asked = section(text(stage()), "Ask")
    assert "transcript" not in asked.split("```")[3], "an auxiliary sees its own modality only"
    assert " Text: {the transcript} Visual: <video> Audio: <audio>" in asked.replace("\n", " ")
    assert 'Return (JSON only). {"sentiment": "...", "emotion": "..."}' in asked


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(tmp_path, (clip("a_1"), clip("b_1", split="validation"), clip("b_2", split="validation")))


def test_it_is_written_behind_the_record_and_again_with_scores(sweep: Sweep) -> None:
    unit = next(unit for unit in sweep.plan.units if unit.title == "Base / sentiment, seed 0")
    assert isinstance(unit, RunUnit)
    write_card(sweep, unit)
    finish(sweep, unit, step(1, 1.0))
    assert unit.stage
    folder = sweep.folder / "stages" / unit.stage.key
    run_record = sweep.folder / "runs" / unit.run.signature / "record.json"
    kept = run_record.read_bytes()
    run_record.unlink()
    write_card(sweep, unit)
    assert section((folder / "README.md").read_text(), "Scores").startswith("Not evaluated")
    run_record.write_bytes(kept)
    write_card(sweep, unit)
    assert section((folder / "README.md").read_text(), "Scores").startswith("Base / sentiment, seed 0, on 2 held-out clips: accuracy 0.500")
    before = (folder / "README.md").stat().st_mtime_ns
    write_card(sweep, unit)
    assert (folder / "README.md").stat().st_mtime_ns == before
    assert "README.md" not in (read_record(folder) or {})["files"]


def test_failed_and_unused_stages_have_no_card(sweep: Sweep) -> None:
    for unit in sweep.plan.units:
        write_card(sweep, unit)
    assert not sweep.folder.exists()
    failed = next(unit for unit in sweep.plan.units if unit.title.startswith("stage 1"))
    assert failed.stage
    folder = sweep.folder / "stages" / failed.stage.key
    folder.mkdir(parents=True)
    write_record(folder, {**STAGE_RECORD, "outcome": "diverged"})
    write_card(sweep, failed)
    assert [file.name for file in folder.iterdir()] == ["record.json"]
