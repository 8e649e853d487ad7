"""A base by name -> where its files lie and which revision they are. Reads JSON and bytes only; loads no weights."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

from omnimer_ray.config import BaseConfig
from omnimer_ray.corpora import default_cache
from omnimer_ray.corpora.files import content_hashes
from omnimer_ray.errors import BaseModelError, MissingExtraError, OmniMERError, near
from omnimer_ray.results import read_json

TINY = "tiny"
TINY_FOLDER = Path(__file__).parent / "tiny" / "weights"
TINY_NOTICE = "the tiny Thinker, a stand-in of the same architecture"
HUB_NAMES = ("Qwen/Qwen2.5-Omni-7B", "Qwen/Qwen2.5-Omni-3B")
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")  # before and since transformers 5
MODEL_TYPES = ("qwen2_5_omni", "qwen2_5_omni_thinker")


class Base(NamedTuple):
    """Where a base lies. `folder` is None for a hub name that is not in the local cache yet."""

    name: str
    folder: Path | None
    revision: str  # a commit of the hub, or a hash of the folder's files
    stand_in: str | None  # what to print wherever its numbers are printed
    width: int | None = None  # of the language model, which tells the recipe that belongs to it; None: not known yet

    def config(self) -> BaseConfig:
        """The base as it enters a signature: two folders with the same contents are one base."""
        return BaseConfig(name=Path(self.name).name, revision=self.revision)

    @property
    def commit(self) -> str | None:
        """Of the hub, where anyone can fetch it; None for a folder, whose revision is a hash of its contents."""
        return self.revision if "/" in self.name else None

    @property
    def source(self) -> str:
        """What `from_pretrained` takes."""
        return str(self.folder) if self.folder else self.name


def locate(name: str) -> Base:
    """The base called `tiny`, a folder with a checkpoint, or a hub name. Raises BaseModelError where it is none of them."""
    if name == TINY:
        return Base(TINY, TINY_FOLDER, _folder_hash(TINY_FOLDER), TINY_NOTICE, _check(TINY_FOLDER, name))
    folder = Path(name).expanduser()
    if folder.is_dir():
        width = _check(folder, name)
        return Base(folder.resolve().name, folder.resolve(), _folder_hash(folder), None, width)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise BaseModelError(
            f"base {name!r} is neither 'tiny', nor a folder, nor a hub name like {HUB_NAMES[0]!r}; {near(name, (TINY, *HUB_NAMES))}"
        )
    return _hub(name)


def _hub(name: str) -> Base:
    """From the local hub cache where it is, else by asking the hub for the commit of `main`."""
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "hub")
    repository = cache / f"models--{name.replace('/', '--')}"
    reference = repository / "refs" / "main"
    if reference.is_file():
        revision = reference.read_text().strip()
        folder = repository / "snapshots" / revision
        if (folder / "config.json").exists():
            return Base(name, folder, revision, None, _check(folder, name))
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise MissingExtraError("huggingface-hub", "train") from None
    try:
        info = HfApi().model_info(name, timeout=10)
    except Exception as error:  # the hub's client raises many types; each means: not to be had now
        other = "" if name in HUB_NAMES else f"; {near(name, (TINY, *HUB_NAMES))}"
        raise BaseModelError(
            f"base {name!r} is not in the hub cache {cache}, and the hub did not give it ({type(error).__name__}); "
            f"run `hf download {name}` where there is a network, or give a folder{other}"
        ) from None
    if info.config is not None:  # the hub's extract of config.json
        _check_type(info.config, name)
    return Base(name, None, str(info.sha), None)


def _check(folder: Path, name: str) -> int:
    """The width of a Qwen2.5-Omni checkpoint with weights, tokenizer and processor; BaseModelError where the folder is none."""
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
        # transformers would fill in defaults, which are not even the 7B's
        raise BaseModelError(
            f"base {name!r}: {path} gives no text_config.hidden_size of its Thinker; download the checkpoint again"
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
    """The files that the index of a sharded checkpoint names; a download that was cut off lacks some."""
    path = folder / "model.safetensors.index.json"
    try:
        return sorted(set(read_json(path)["weight_map"].values())) if path.exists() else []
    except (OmniMERError, KeyError, TypeError, AttributeError) as error:
        raise BaseModelError(f"base {name!r}: {path} is no index of weights ({error}); download it again") from None


def _check_type(config: Any, name: str) -> None:
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in MODEL_TYPES:
        raise BaseModelError(
            f"base {name!r} is a checkpoint of type {kind!r}, not Qwen2.5-Omni ({' or '.join(MODEL_TYPES)}); bases: 'tiny', {', '.join(HUB_NAMES)}"
        )


def _folder_hash(folder: Path) -> str:
    """16 hex digits over names and contents; weights whose size and time are known from before are not read again."""
    files = sorted(
        file for file in folder.iterdir() if file.is_file() and file.suffix in {".json", ".safetensors", ".txt", ".jinja", ".model"}
    )
    hashes = content_hashes(files, default_cache())
    return hashlib.sha256("".join(f"{file.name}:{hashes[file][:16]};" for file in files).encode()).hexdigest()[:16]
