"""Keys by content: of a part of the supervision ledger, of a stage and of a run. Equal keys mean equal results, on any machine.

Each key hashes what determines its result and nothing else: the versions of the code that computes it, the settings and the prompts that
it uses, and the keys of what it is made from. The base enters by its revision; its name, or its folder's, does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omnimer_ray.config import (
    AUXILIARIES,
    RECIPE_VERSION,
    Kind,
    ThinkerConfig,
    content_hash,
    matched_auxiliaries,
    stage_epochs,
    stage_kinds,
)
from omnimer_ray.media.load import MEDIA_VERSION
from omnimer_ray.tasks.instructions import Style, modalities, prompts_hash

ADDED: dict[str, Any] = {
    "evaluation.scoring": "generate",
    "evaluation.decoding": "free",
    "evaluation.auxiliaries": False,
    "auxiliary_answers": "full",
    "auxiliary_clips": "accepted",
    "steps": None,
    "optimizer.carry_over": False,
    "optimizer.one_cosine": False,
    "modalities": ("audio", "text", "video"),
    "paraphrase": 0,
    "train_fraction": 1.0,
    "observed.modalities": ("audio", "text", "video"),
    "observed.missing_rate": 0.0,
    "observed.draw": 0,
    "supervision.retries": 0,
    "supervision.temperature": 1.0,
    "supervision.keywords_must_occur": False,
    "supervision.leak_guard": False,
    "supervision.gold": "modality",
    "corpus.reported": "validation",
    "evaluation.also": (),
    "corpus.unfixed": (),
}
"""Settings that came after results existed, each with the value that means what was computed before. A setting with this value is left
out of every hash, whatever its default is, so earlier keys and signatures stay as they are. A line never changes."""

STAGE_SETTINGS = (
    "corpus",
    "base",
    "method",
    "lora",
    "optimizer",
    "train_fraction",
    "steps",
    "loss_average",
    "global_batch",
    "block",
    "answer_language",
    "seed",
)


def ledger_key(config: ThinkerConfig, kind: Kind) -> str:
    """Key of one instruction's part of the ledger; the choice of clips does not enter it."""
    return content_hash(
        {
            "recipe": RECIPE_VERSION,
            "kind": kind,
            "prompts": prompts_hash([kind], Style.of(config), supervision=True),
            "corpus": config.corpus.fingerprint,
            "max_new_tokens": config.supervision.max_new_tokens,
            **hashed({"base": config.model_dump()["base"], "supervision": _checks(config, kind)}),
            **_media(config, [kind]),
        }
    )


def stage_key(config: ThinkerConfig, kinds: Sequence[Kind], position: int, predecessor: str | None, ledgers: Sequence[str]) -> str:
    """Key of a stage's adapter; `predecessor` is the key of the stage before it, `ledgers` are those of its auxiliary answers."""
    chain = {"kinds": kinds, "position": position, "predecessor": predecessor, "ledgers": ledgers}
    prompts = prompts_hash(kinds, Style.of(config))
    settings = hashed(stage_settings(config, kinds, position))
    return content_hash({"recipe": RECIPE_VERSION, "prompts": prompts, **chain, **settings, **_media(config, kinds)})


def run_signature(config: ThinkerConfig, stages: Sequence[str]) -> str:
    """Signature of a run: its full canonical config, the keys of its stages, and the prompt that it is evaluated with."""
    prompts = prompts_hash([config.task], Style.of(config))
    return content_hash(
        {"recipe": RECIPE_VERSION, "media": MEDIA_VERSION, "prompts": prompts, "stages": stages, "config": hashed(config.model_dump())}
    )


def stage_settings(config: ThinkerConfig, kinds: Sequence[Kind], position: int) -> dict[str, Any]:
    """The settings that a stage of these kinds depends on: an auxiliary stage does not depend on the main task."""
    data = config.model_dump()
    settings = {name: data[name] for name in STAGE_SETTINGS} | {"epochs": stage_epochs(config, position)}
    if config.optimizer.one_cosine:  # then a stage depends on the number of steps of the others
        settings["one_cosine_over"] = {"kinds": stage_kinds(config), "epochs": config.epochs}
    if _sees_media(config, kinds):
        settings["media"] = data["media"]
    if config.task in kinds:
        settings.update({name: data[name] for name in ("modalities", "paraphrase", "hierarchy", "class_balance")})
    if set(kinds) - {config.task} or matched_auxiliaries(config.steps):
        settings.update({name: data[name] for name in ("supervision", "auxiliary_answers", "auxiliary_clips")})
    if config.mixture and len(kinds) > 1:
        settings["mixture"] = {kind: config.mixture[kind] for kind in kinds}
    return settings


def hashed(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The part of nested settings that enters hashes: without the base's name, and without an added setting that has its earlier value."""
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        full = prefix + name
        if full == "base.name" or (full in ADDED and value == ADDED[full]):
            continue
        inner = hashed(value, f"{full}.") if isinstance(value, dict) and name != "mixture" else value
        if inner != {}:
            kept[name] = inner
    return kept


def _checks(config: ThinkerConfig, kind: Kind) -> dict[str, Any]:
    """The settings, beside the number of tokens, that the answers of one instruction depend on."""
    settings = config.supervision.model_dump(exclude={"max_new_tokens"})
    return (
        settings if kind == AUXILIARIES["text"].kind else {name: value for name, value in settings.items() if name != "keywords_must_occur"}
    )


def _media(config: ThinkerConfig, kinds: Sequence[Kind]) -> dict[str, Any]:
    return {**hashed({"media": config.media.model_dump()}), "media_version": MEDIA_VERSION} if _sees_media(config, kinds) else {}


def _sees_media(config: ThinkerConfig, kinds: Sequence[Kind]) -> bool:
    return any(set(modalities(kind, Style.of(config))) - {"text"} for kind in kinds)
