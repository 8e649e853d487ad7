"""The model of a finished run, or of an adapter's folder alone, ready to answer clips outside of its corpus."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omnimer_ray.config import Kind, ThinkerConfig, parse
from omnimer_ray.corpora import default_cache
from omnimer_ray.errors import ConfigError, OmniMERError, ResultsError
from omnimer_ray.model.bases import Base, locate
from omnimer_ray.records import INFERENCE, read_json, read_record
from omnimer_ray.tasks.instructions import Style, prompts_hash

if TYPE_CHECKING:
    from omnimer_ray.model.inputs import Encoder
    from omnimer_ray.model.thinker import Thinker


class Source(NamedTuple):
    """What a model is made of."""

    name: str  # of the run or of the adapter, for people
    config: ThinkerConfig
    adapter: Path | None  # None: the base without training


class Loaded(NamedTuple):
    """A model in memory."""

    thinker: Thinker
    encoder: Encoder
    base: Base


def of_run(results: Path, signature: str) -> Source:
    """The model of a finished run below a folder of results; the start of a signature is enough. Raises ResultsError if it is not one run."""
    found = [path.parent for path in sorted(results.glob("**/runs/*/record.json")) if path.parent.name.startswith(signature)]
    if not signature or len({path.name for path in found}) != 1:
        names = ", ".join(sorted({path.name for path in found})[:5])
        raise ResultsError(
            f"{results} has {f'several runs {names}' if found else 'no finished run'} with the signature {signature!r}; see the tables for signatures, or give --results"
        )
    run, record = found[0], read_record(found[0]) or {}
    if record.get("outcome") != "done":
        raise ResultsError(f"run {run.name} ended as {record.get('outcome')}: {record.get('reason')}; choose a run that is done")
    if not (run / "config.json").is_file():
        raise ResultsError(f"run {run.name} has no config.json beside its record, so its adapter is unknown; copy the whole results folder")
    config = _config(read_json(run / "config.json"), run)
    adapter = _with_weights(run.parents[1] / "stages" / record["stages"][-1]) if record["stages"] else None
    _check_prompts(config, record.get("prompts"), run)
    return Source(f"run {run.name}", config, adapter)


def of_adapter(folder: Path) -> Source:
    """The model of a stage's folder, by its inference.json, or by its record where an older version wrote none. Raises ResultsError."""
    if (folder / INFERENCE).exists():
        about = read_json(folder / INFERENCE)
    elif record := read_record(folder):
        about = {"config": record.get("config"), "kinds": record.get("kinds"), "prompts": record.get("task_prompts")}
    else:
        raise ResultsError(f"{folder} has neither {INFERENCE} nor record.json; give the folder of a finished stage")
    config = _config(about.get("config"), folder)
    if config.task not in (about.get("kinds") or ()):
        raise ResultsError(
            f"{folder} was trained on auxiliary instructions alone; give the folder of a stage that was trained on {config.task}"
        )
    _check_prompts(config, about.get("prompts"), folder)
    return Source(f"adapter {folder.name}", config, _with_weights(folder))


def load(source: Source, base: str | None) -> Loaded:
    """Load base and adapter onto a GPU if there is one. Raises ConfigError if the base is not the one that was trained."""
    wanted = source.config.base
    try:
        found = locate(base or wanted.name)
    except OmniMERError as error:
        raise ConfigError(f"the base {base or wanted.name!r} of {source.name} is not here ({error}); give it with --base") from error
    if found.revision != wanted.revision:
        raise ConfigError(
            f"{source.name} belongs to the base {wanted.name} with revision {wanted.revision}, and {found.name} has {found.revision}; give the right one with --base"
        )
    import torch
    from transformers.utils import logging

    from omnimer_ray.model import adapters
    from omnimer_ray.model.inputs import Encoder
    from omnimer_ray.model.lora import place_lora
    from omnimer_ray.model.thinker import load_thinker

    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    thinker = load_thinker(found, wanted.precision, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    if source.adapter is not None:
        model, _ = place_lora(thinker.model, source.config.lora, source.config.seed)
        adapters.load(model, source.adapter)
        thinker = thinker._replace(model=model.eval())
    return Loaded(thinker, Encoder(thinker.processor, source.config, default_cache()), found)


def about_adapter(config: ThinkerConfig, kinds: tuple[Kind, ...]) -> dict[str, Any]:
    """Contents of inference.json: all that an adapter's folder needs beside the base."""
    return {"config": config.model_dump(mode="json"), "kinds": list(kinds), "prompts": prompts_hash([config.task], Style.of(config))}


def _config(data: Any, folder: Path) -> ThinkerConfig:
    method = data.get("method", "thinker") if isinstance(data, dict) else "thinker"
    if method != "thinker":
        raise ResultsError(f"{folder} is of method {method!r}, whose networks answer within a sweep alone; choose a run of the Thinker")
    try:
        return parse(ThinkerConfig, data, "config")
    except ConfigError as error:
        raise ResultsError(f"{folder}: {error}; it was written by another version") from None


def _with_weights(folder: Path) -> Path:
    if not (folder / "adapter_model.safetensors").is_file():
        raise ResultsError(f"{folder} has no adapter_model.safetensors, so there is no adapter to load; copy the whole folder of the stage")
    return folder


def _check_prompts(config: ThinkerConfig, recorded: str | None, folder: Path) -> None:
    if recorded is not None and (now := prompts_hash([config.task], Style.of(config))) != recorded:
        raise ResultsError(
            f"{folder} was trained with prompts of hash {recorded}, and this version's have {now}; use the version that trained it"
        )
