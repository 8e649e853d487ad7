"""Annotations -> clips with labels, source videos and splits: `load('mini')`, `load('NAME:PATH')`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import ConfigError, near

READERS = {  # a corpus of files -> what its PATH is; omnimer_ray/corpora/NAME.py has `read(path, how)`
    "indomer": "a folder",
    "ch_sims": "a folder",
    "meld": "a folder",
    "table": "a CSV or Parquet file",
}
GENERATED = ("mini", "mini_zh")


def load(
    spec: str,
    *,
    limit: int | None = None,
    folds: int | None = None,
    fold: int | None = None,
    cache: Path | None = None,
    media: Path | None = None,
    exclude: Sequence[str] = (),
    need_media: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> Corpus:
    """The corpus named by `spec`: 'mini' (generated at first use), or NAME:PATH with a name of READERS.

    `limit` keeps that many clips over all splits; `folds` and `fold` hold out one grouped fold instead of the validation split.
    `media` and `exclude` (clip ids) are for a release; without `need_media` nothing is generated and files may be absent. The fingerprint is that of the whole corpus; limit and fold are separate settings.
    Raises ConfigError for an unknown corpus, CorpusError with all faults of a release, MissingExtraError.
    """
    from omnimer_ray.corpora.select import folded, limited

    name, _, path = spec.partition(":")
    cache = cache or default_cache()
    if name in GENERATED and not path:
        from omnimer_ray.corpora.generated import mini

        if media is not None or exclude:
            raise ConfigError(f"corpus {name!r} is generated: it takes neither a media folder nor excluded clips; use them with NAME:PATH")
        corpus = mini.load(mini.RECIPES[name], cache=cache, need_media=need_media, progress=progress)
    elif name in READERS and path:
        from omnimer_ray.corpora.assembly import Reading

        corpus = import_module(f"omnimer_ray.corpora.{name}").read(Path(path), Reading(cache, media, tuple(exclude), need_media))
    else:
        raise ConfigError(_unknown(spec, name))
    corpus = corpus if limit is None else limited(corpus, limit)
    return corpus if folds is None and fold is None else folded(corpus, folds, fold)


def default_cache() -> Path:
    """$XDG_CACHE_HOME/omnimer_ray, else ~/.cache/omnimer_ray."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root).absolute() if root else Path.home() / ".cache") / "omnimer_ray"


def _unknown(spec: str, name: str) -> str:
    if name in READERS:
        return f"corpus {name!r} needs {READERS[name]}: {name}:PATH"
    if name in GENERATED:
        return f"corpus {spec!r}: {name} is generated and takes no path; write {name!r}"
    return f"unknown corpus {spec!r}; {near(name, (*GENERATED, *READERS))}"
