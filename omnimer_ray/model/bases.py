"""Resolve a base's name to its folder, revision and width, and find the same base on a worker's node. No weights are loaded.

The driver resolves the name once (`locate`). A worker gets the resolved Base and never resolves a name: it looks for the same commit or the
same contents on its own node (`find_on_this_node`).
"""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from omnimer_ray.config import BaseConfig
from omnimer_ray.corpora import default_cache
from omnimer_ray.corpora.files import content_hashes
from omnimer_ray.errors import BaseModelError, MachineError, MissingExtraError, OmniMERError, near
from omnimer_ray.model.dimensions import HUB_SHAPES, Shape, read_shape
from omnimer_ray.records import read_json

TINY = "tiny"
TINY_FOLDER = Path(__file__).parents[1] / "tiny" / "weights"
TINY_NOTICE = "the tiny Thinker, a stand-in of the same architecture"
UNKNOWN = "unknown until downloaded"  # the revision of a base that is only planned with
SUFFIXES = (".json", ".safetensors", ".txt", ".jinja", ".model")  # suffixes of the files that are loaded, and therefore hashed
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")  # names before transformers 5 and since
MODEL_TYPES = ("qwen2_5_omni", "qwen2_5_omni_thinker")


class Base(NamedTuple):
    """A resolved base."""

    name: str  # 'tiny', the folder's own name, or the hub name
    folder: Path | None  # absolute; None for a hub commit that is not in the hub cache yet
    revision: str  # a hub commit, or a hash of the folder's files
    stand_in: str | None  # notice printed with the results of a stand-in; None for a real base
    width: int | None = None  # of the language model, which determines the recipe; None: unknown until the base is downloaded

    def config(self) -> BaseConfig:
        """Return the base as part of a signature: two folders with the same contents are the same base."""
        return BaseConfig(name=Path(self.name).name, revision=self.revision)

    @property
    def is_tiny(self) -> bool:
        """Whether this is the tiny base of this package; a folder of the same name is not."""
        return self.name == TINY and self.stand_in is not None

    @property
    def shape(self) -> Shape | None:
        """Sizes from its config.json, or of a base that is known without a download; None of any other."""
        return read_shape(self.folder) if self.folder else HUB_SHAPES.get(self.name)

    @property
    def commit(self) -> str | None:
        """Hub commit, which other machines can download; None for a folder, whose revision is a hash of its contents."""
        return self.revision if "/" in self.name else None


def locate(name: str, *, to_plan: bool = False) -> Base:
    """Resolve `tiny`, a folder with a checkpoint, or a hub name (NAME or NAME@COMMIT). Raises BaseModelError for any other name.

    `to_plan`: a base of HUB_SHAPES that is neither here nor can be asked for is returned with the revision UNKNOWN.
    """
    if name == TINY:
        return Base(TINY, TINY_FOLDER, folder_hash(TINY_FOLDER, default_cache()), TINY_NOTICE, _check(TINY_FOLDER, name))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _in_folder(folder.resolve(), name)
    repository, at, revision = name.partition("@")
    if repository.count("/") != 1 or repository.startswith((".", "/", "~")) or bool(at) != bool(revision):
        raise BaseModelError(
            f"base {name!r} is neither 'tiny', nor a folder, nor a hub name like {next(iter(HUB_SHAPES))!r} or NAME@COMMIT; "
            f"{near(name, (TINY, *HUB_SHAPES))}"
        )
    return _on_hub(repository, revision or None, to_plan)


def find_on_this_node(base: Base) -> Base:
    """Find the planned base on this node. Raises MachineError if it is absent or has other contents, which is not a fault of the run."""
    if base.commit:
        return base._replace(folder=_snapshot(base))
    folder = TINY_FOLDER if base.is_tiny else base.folder
    assert folder is not None
    _compare(base, folder, default_cache())
    return base._replace(folder=folder)


def confirm(base: Base, error: BaseModelError) -> None:
    """After a failed load, raise MachineError unless the folder has the planned contents; its files are hashed again without the cache.

    The folder of a hub commit has no hash to compare with, so its failures always count as machine faults.
    """
    assert base.folder is not None
    if base.commit:
        raise MachineError(f"{error}, on {platform.node()}: `{download_command(base.name, base.commit)} --force-download`") from error
    _compare(base, base.folder, None)


def download_command(name: str, revision: str | None) -> str:
    """Command that downloads a base from the hub."""
    return f"hf download {name}" + (f" --revision {revision}" if revision else "")


def _in_folder(folder: Path, name: str) -> Base:
    width = _check(folder, name)
    try:
        return Base(folder.name, folder, folder_hash(folder, default_cache()), None, width)
    except OSError as error:
        raise BaseModelError(
            f"base {name!r}: {error.filename or folder} cannot be read ({error.strerror}); check its permissions"
        ) from None


def _on_hub(name: str, revision: str | None, to_plan: bool) -> Base:
    """Resolve a revision (default: `main`) from the local hub cache, or else by a request to the hub."""
    client = hub()
    if folder := cached(name, revision or "main"):
        return Base(name, folder, folder.name, None, _check(folder, name))
    try:
        info = client.HfApi().model_info(name, revision=revision, timeout=10)
    except Exception as error:  # the hub client raises many types; all mean that the base is not available now
        if to_plan and name in HUB_SHAPES:
            return Base(name, None, revision or UNKNOWN, None, HUB_SHAPES[name].width)
        raise BaseModelError(
            f"base {name!r}{f' at {revision}' if revision else ''} is not in the hub cache {client.constants.HF_HUB_CACHE} and could not be "
            f"fetched from the hub ({type(error).__name__}); run `{download_command(name, revision)}` with network access, or give a folder"
            + ("" if name in HUB_SHAPES else f"; {near(name, (TINY, *HUB_SHAPES))}")
        ) from None
    if info.config is not None:  # the hub's extract of config.json
        _check_type(info.config, name)
    folder = cached(name, info.sha)  # a download by commit leaves no reference to `main` in the cache
    return Base(name, folder, info.sha, None, _check(folder, name) if folder else _known_width(name))


def _known_width(name: str) -> int | None:
    return HUB_SHAPES[name].width if name in HUB_SHAPES else None


def _snapshot(base: Base) -> Path:
    """Snapshot of the base's commit in this node's hub cache, downloaded or completed if necessary. Raises MachineError."""
    client, commit = hub(), f"base {base.name!r}: commit {base.revision}"
    try:
        folder = cached(base.name, base.revision)
        if folder is not None:
            _check(folder, base.name)
            return folder
        reason = "absent"
    except BaseModelError as error:
        reason = f"incomplete ({error})"
    try:
        folder = Path(client.snapshot_download(base.name, revision=base.revision, allow_patterns=[f"*{suffix}" for suffix in SUFFIXES]))
        _check(folder, base.name)
    except Exception as error:  # as in `_on_hub`
        raise MachineError(
            f"{commit} is {reason} in the hub cache {client.constants.HF_HUB_CACHE} on {platform.node()} and could not be fetched from the hub "
            f"({error if isinstance(error, BaseModelError) else type(error).__name__}); run `{download_command(base.name, base.revision)}` there"
        ) from None
    return folder


def cached(name: str, revision: str) -> Path | None:
    """Snapshot of a commit, branch or tag in the local hub cache, or None."""
    try:
        found = hub().try_to_load_from_cache(name, "config.json", revision=revision)
    except ValueError:  # not a valid repository name
        return None
    return Path(found).parent if isinstance(found, str) else None


def hub() -> ModuleType:
    """The hub's client. Raises MissingExtraError."""
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtraError("huggingface-hub", "train") from None
    return huggingface_hub


def _compare(base: Base, folder: Path, cache: Path | None) -> None:
    """Raise MachineError if the folder's contents differ from those that the plan was made for."""
    try:
        found = folder_hash(folder, cache)
    except OSError as error:
        raise MachineError(
            f"base {base.name!r}: {error.filename or folder} cannot be read on {platform.node()} ({error.strerror}); mount or copy it there"
        ) from None
    if found != base.revision:
        raise MachineError(
            f"base {base.name!r}: {folder} on {platform.node()} has contents with hash {found}, and the plan was made for {base.revision}; "
            "copy the planned folder there, or give the same command again if the folder was changed on purpose"
        )


def _check(folder: Path, name: str) -> int:
    """Check that a folder has a complete Qwen2.5-Omni checkpoint (weights, tokenizer, processor) and return its width.

    Raises BaseModelError for any other folder.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise BaseModelError(f"base {name!r}: {path} is missing; give a folder with a Qwen2.5-Omni checkpoint")
    try:
        config = read_json(path)
    except (OmniMERError, OSError, UnicodeDecodeError) as error:
        raise BaseModelError(f"base {name!r}: {path} cannot be read ({error})") from None
    _check_type(config, name)
    try:
        width = int(config.get("thinker_config", config)["text_config"]["hidden_size"])
    except (KeyError, TypeError, ValueError, AttributeError):
        # transformers would use its defaults, which differ even from the 7B's sizes
        raise BaseModelError(
            f"base {name!r}: {path} has no text_config.hidden_size for the Thinker; download the checkpoint again"
        ) from None
    missing = [] if (folder / "tokenizer_config.json").is_file() else ["tokenizer_config.json"]
    if not any((folder / name).is_file() for name in PROCESSOR_FILES):
        missing.append(" or ".join(PROCESSOR_FILES))
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors (weights are read from safetensors only)")
    missing += [shard for shard in _shards(folder, name) if Path(shard).name != shard or not (folder / shard).is_file()]
    if missing:
        raise BaseModelError(f"base {name!r}: {folder} lacks {', '.join(missing)}; download the checkpoint again")
    return width


def _shards(folder: Path, name: str) -> list[str]:
    """Files named by the index of a sharded checkpoint; an incomplete download lacks some of them."""
    path = folder / "model.safetensors.index.json"
    try:
        return sorted(set(read_json(path)["weight_map"].values())) if path.exists() else []
    except (OmniMERError, KeyError, TypeError, AttributeError) as error:
        raise BaseModelError(f"base {name!r}: {path} is not a weight index ({error}); download it again") from None


def _check_type(config: Any, name: str) -> None:
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in MODEL_TYPES:
        raise BaseModelError(
            f"base {name!r} is a checkpoint of type {kind!r}, not Qwen2.5-Omni ({' or '.join(MODEL_TYPES)}); bases: 'tiny', {', '.join(HUB_SHAPES)}"
        )


def folder_hash(folder: Path, cache: Path | None) -> str:
    """Hash of file names and contents, 16 hex digits; with a cache, files that have not changed are not read again."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in SUFFIXES)
    hashes = content_hashes(files, cache)
    return hashlib.sha256("".join(f"{file.name}:{hashes[file][:16]};" for file in files).encode()).hexdigest()[:16]
