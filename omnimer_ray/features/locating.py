"""Where encoders are: a hub name or a folder -> kind, revision and folder, resolved once, before a sweep, and found again by workers.

Of pretrained ones only kinds on the allow-list, safetensors, and no code of a repository; no weights are loaded.
"""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path
from typing import NamedTuple, cast, get_args

from omnimer_ray.config import RunConfig, parse
from omnimer_ray.corpora import default_cache
from omnimer_ray.errors import ConfigError, MachineError, MissingExtraError, OmniMERError
from omnimer_ray.feature_config import Checkpoint, CheckpointKind, Described, Feature, Files, OpenFaceCsv, Smile
from omnimer_ray.features.described import written_kinds
from omnimer_ray.features.given import files_hash
from omnimer_ray.fusion_config import FusionConfig, LateFusionConfig
from omnimer_ray.model.bases import cached, download_command, folder_hash
from omnimer_ray.records import read_json
from omnimer_ray.tasks.instructions import Style, prompts_hash


class Located(NamedTuple):
    """A resolved encoder."""

    name: str  # the hub name, or the folder's own
    folder: Path
    revision: str
    kind: str  # of a checkpoint, or the name of an encoder that reads a person's files


def locate(model: str) -> Located:
    """Resolve a folder, or a hub name (NAME or NAME@COMMIT) that is in this machine's hub cache. Raises ConfigError for any other."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return Located(folder.resolve().name, folder.resolve(), folder_hash(folder, default_cache()), _kind(folder, model))
    name, _, commit = model.partition("@")
    found = cached(name, commit or "main") if name.count("/") == 1 and not name.startswith((".", "/", "~")) else None
    if found is None:
        raise ConfigError(
            f"encoder {model!r} is neither a folder nor a model in this machine's hub cache; run `{download_command(name, commit or None)}` on every machine, "
            "or give a folder"
        )
    return Located(name, found, found.name, _kind(found, model))


def find_on_this_node(located: Located) -> Path:
    """The folder of a resolved encoder on this node. Raises MachineError if it is absent or has other contents."""
    if "/" in located.name:
        folder = cached(located.name, located.revision)
        if folder is None:
            raise MachineError(
                f"encoder {located.name!r}: commit {located.revision} is absent in the hub cache on {platform.node()}; "
                f"run `{download_command(located.name, located.revision)}` there"
            )
        return folder
    hashed = folder_hash if located.kind in get_args(CheckpointKind) else files_hash
    found = hashed(located.folder, default_cache()) if located.folder.is_dir() else "absent"
    if found != located.revision:
        raise MachineError(
            f"encoder {located.name!r}: {located.folder} on {platform.node()} has contents with hash {found}, and the plan was made for {located.revision}; "
            "copy the planned folder there, or give the same command again if it was changed on purpose"
        )
    return located.folder


def resolved(variant: RunConfig, known: dict[str, Located]) -> RunConfig:
    """A run with its encoders resolved; those that are found are added to `known`, by revision."""
    if isinstance(variant, LateFusionConfig):
        members = {name: resolved(member, known) for name, member in variant.members.items()}
        return variant.model_copy(update={"members": members})
    if not isinstance(variant, FusionConfig):
        return variant
    features = {modality: _resolved(feature, known) for modality, feature in variant.features.items()}
    return FusionConfig.model_validate({**variant.model_dump(), "features": features})


def _resolved(feature: Feature, known: dict[str, Located]) -> Feature:
    encoder = feature.encoder
    if isinstance(encoder, Files | OpenFaceCsv):
        folder = Path(encoder.folder).expanduser()
        if not folder.is_dir():
            raise ConfigError(f"encoder {encoder.name!r}: {encoder.folder} is no folder; give the one that holds a file of each clip")
        located = Located(folder.resolve().name, folder.resolve(), files_hash(folder, default_cache()), encoder.name)
        known[located.revision] = located
        about = {"folder": str(located.folder), "revision": located.revision}
        return feature.model_copy(update={"encoder": encoder.model_copy(update=about)})
    if isinstance(encoder, Smile) and importlib.util.find_spec("opensmile") is None:
        raise MissingExtraError("opensmile", "smile")
    if isinstance(encoder, Described):
        inner = encoder.encoder
        if isinstance(inner, Checkpoint):
            inner = _resolved(Feature(encoder=inner, view="text"), known).encoder  # type: ignore[assignment]
        prompts = prompts_hash(written_kinds(encoder), Style("none", encoder.answer_language))
        return feature.model_copy(update={"encoder": encoder.model_copy(update={"encoder": inner, "prompts": prompts})})
    if not isinstance(encoder, Checkpoint):
        return feature
    found = locate(encoder.model)
    known[found.revision] = found
    about = {"model": found.name, "revision": found.revision, "kind": found.kind}
    return parse(Feature, {**feature.model_dump(), "encoder": {**encoder.model_dump(), **about}}, f"encoder {encoder.model!r}")


def _kind(folder: Path, model: str) -> CheckpointKind:
    """Model type of a folder with weights that can be loaded. Raises ConfigError."""
    try:
        config = read_json(folder / "config.json")
        kind = config["model_type"]
    except (OmniMERError, OSError, KeyError, TypeError) as error:
        raise ConfigError(
            f"encoder {model!r}: {folder / 'config.json'} cannot be read ({error}); give a folder as the hub has it"
        ) from None
    if kind not in (allowed := get_args(CheckpointKind)):
        raise ConfigError(f"encoder {model!r} is of type {kind!r}; allowed: {', '.join(allowed)}")
    if not any(folder.glob("*.safetensors")):
        raise ConfigError(
            f"encoder {model!r}: {folder} has no *.safetensors, and other weights are not read; convert them with "
            "`AutoModel.from_pretrained(folder).save_pretrained(other)` where you trust them"
        )
    return cast(CheckpointKind, kind)
