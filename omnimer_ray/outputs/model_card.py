"""The model card of a stage's adapter, `stages/<key>/README.md`: provenance, scores, settings, how to load it.

The same records give the same text. It is written after the record, and again after a run that ends with the stage is scored.
"""

from __future__ import annotations

from typing import Any

from omnimer_ray.config import Kind, ThinkerConfig, flat, of_thinker
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.markdown import cell, table
from omnimer_ray.metrics import METRICS, Scores
from omnimer_ray.model.bases import Base
from omnimer_ray.outputs.analysis_inputs import run_scores
from omnimer_ray.planning.identity import stage_settings
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import PartUnit, RunUnit, Stage, Unit
from omnimer_ray.recipes import GIVEN, omnimer_qwen7b
from omnimer_ray.records import read_record, write_atomically
from omnimer_ray.tasks.instructions import Style, conversation

CARD = "README.md"
ANY_CLIP = Clip("", "", "", "train", "{the transcript}", None, None, None, None, None, None, None)
OWN = ("corpus", "base.name", "base.revision", "method", "seed")  # in the lines above, or no number that a paper gives


def write_card(sweep: Sweep, unit: Unit) -> None:
    """Write the card of the unit's stage, if the stage is recorded as done."""
    if isinstance(unit, PartUnit) or unit.stage is None or not isinstance(unit.config, ThinkerConfig):
        return
    folder = sweep.folder / "stages" / unit.stage.key
    record = read_record(folder)
    if record is None or record["outcome"] != "done":
        return
    others = [other for other in sweep.plan.units if not isinstance(other, PartUnit)]
    users = [other for other in others if other.stage is not None and other.stage.key == unit.stage.key] or [unit]
    scores = {user.title: found for user in users if isinstance(user, RunUnit) and (found := run_scores(sweep.folder, user.run))}
    text = card(users[0].title, unit.stage, record, sweep.base, sweep.stand_ins, scores)
    if not (folder / CARD).exists() or (folder / CARD).read_text(encoding="utf-8") != text:
        write_atomically(folder / CARD, lambda path: path.write_text(text, encoding="utf-8"))


def card(title: str, stage: Stage, record: dict[str, Any], base: Base, stand_ins: tuple[str, ...], scores: dict[str, Scores]) -> str:
    """Markdown after the few lines of YAML that a hub reads; `scores` by the titles of the runs that end with the stage."""
    blocks = [
        _head(base),
        f"# {cell(title)}",
        *(f"> **Stand-in.** {notice}. Its numbers show that the machine works, not what helps recognition." for notice in stand_ins),
        "A LoRA adapter for the Thinker of Qwen2.5-Omni, trained by omnimer_ray after OmniMER (arXiv 2512.19379).",
        table(("", ""), _facts(stage, record, base), numbers=False),
        "## Scores",
        *(_score_lines(scores) or ["Not evaluated: other stages continue from it, or its run is not recorded yet."]),
        "## Load",
        f"```python\n{loading(stage, base)}\n```",
        "## Ask",
        "Trained on these instructions, with frames and sound as set below; an answer is one JSON object.",
        *(f"```\n{_asked(stage, kind)}\n```" for kind in stage.kinds),
        "## Settings",
        "[P] is the paper's value, [A] is assumed: the paper is silent.",
        table(("setting", "value", ""), _settings(stage), numbers=False),
        "## License",
        "Not set: whoever publishes the adapter chooses it, within the terms of the base and of the corpus.",
    ]
    return "\n\n".join(blocks) + "\n"


def loading(stage: Stage, base: Base) -> str:
    """Code that loads the adapter from the folder of its card, with torch, transformers and peft only."""
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[of_thinker(stage.config).base.precision]
    pinned = f", revision={base.commit!r}" if base.commit else ""
    where = "from omnimer_ray.model.bases import TINY_FOLDER as base" if base.is_tiny else f"base = {base.name!r}"
    hint = "" if base.commit or base.is_tiny else f"  # the folder whose contents have the hash {base.revision}"
    return "\n".join(
        [
            "import torch",
            "from peft import PeftModel",
            "from transformers import Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration",
            "",
            f"{where}{hint}",
            f"thinker = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(base{pinned}, dtype=torch.{dtype})",
            'model = PeftModel.from_pretrained(thinker, ".").eval()  # the folder of this card',
            f"processor = Qwen2_5OmniProcessor.from_pretrained(base{pinned})",
        ]
    )


def _head(base: Base) -> str:
    known = [f"base_model: {base.name}"] if base.commit else []
    return "\n".join(["---", "library_name: peft", *known, "tags:", "- lora", "- omnimer_ray", "---"])


def _facts(stage: Stage, record: dict[str, Any], base: Base) -> list[tuple[str, ...]]:
    config = of_thinker(stage.config)
    corpus = config.corpus
    limit = f", limited to {corpus.limit} clips" if corpus.limit else ""
    fold = f", fold {corpus.fold} of {corpus.folds} held out" if corpus.folds else ""
    before = f"; it was trained further from the adapter `{stage.predecessor}`" if stage.predecessor else ""
    facts = [
        ("stage", f"`{stage.key}`, seed {stage.config.seed}{before}"),
        ("base", f"{base.name}, {'commit' if base.commit else 'contents'} `{base.revision}`, {config.base.precision}"),
        ("corpus", f"{corpus.name}, fingerprint `{corpus.fingerprint}`{limit}{fold}"),
        ("trained on", ", ".join(f"{kind} ({items} items)" for kind, items in sorted(record["num_items"].items()))),
        ("steps", f"{record['num_steps']} of {config.global_batch} items"),
        ("adapter", record["matched"]),
    ]
    return [(name, cell(text)) for name, text in facts]


def _score_lines(scores: dict[str, Scores]) -> list[str]:
    lines = []
    for title, of in scores.items():
        parts = zip(of.labels, of.support, of.precision, of.recall, of.f1, strict=True)
        lines += [
            f"{cell(title)}, on {of.num_clips} held-out clips: {', '.join(f'{metric.heading} {of.values[metric.name]:.3f}' for metric in METRICS)}; "
            f"{of.unparsed} answers were no label, and count as wrong.",
            table(
                ("class", "clips", "precision", "recall", "F1"),
                [(label, str(clips), *(f"{value:.3f}" for value in values)) for label, clips, *values in parts],
                numbers=True,
            ),
        ]
    return lines


def _settings(stage: Stage) -> list[tuple[str, ...]]:
    """Every setting that the stage depends on, with its source."""
    config = of_thinker(stage.config)
    paper = flat(omnimer_qwen7b(config.corpus, config.base).model_dump())
    lines: list[tuple[str, ...]] = []
    for name, value in flat(stage_settings(config, stage.kinds, stage.position)).items():
        if not name.startswith(OWN):
            source = "[A]" if name not in GIVEN else "[P]" if value == paper[name] else f"the paper's: {paper[name]} [P]"
            lines.append((name, cell(str(value)), source))
    return lines


def _asked(stage: Stage, kind: Kind) -> str:
    """The conversation with a clip, media as placeholders."""
    messages = conversation(ANY_CLIP, kind, Style.of(of_thinker(stage.config)))
    return "\n".join(
        f"{message['role']}: " + "".join(part.get("text", f"<{part['type']}>") for part in message["content"]) for message in messages
    )
