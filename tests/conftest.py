"""Options and fixtures that all tests share: the tiny base, a handful of generated clips, and released data where they are given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # tests of the light core load no torch
    from short_training import Parts
    from workers import Workers

    from omnimer_ray.config import ThinkerConfig
    from omnimer_ray.corpora.clips import Corpus
    from omnimer_ray.model.bases import Base
    from omnimer_ray.model.inputs import Encoder
    from omnimer_ray.model.thinker import Thinker

ROOT = Path(__file__).parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(ROOT / ".cache" / "torch_extensions"))  # DeepSpeed builds an op once, in a minute
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--indomer", type=Path, help="folder of the released IndoMER labels")
    parser.addoption("--write-golden", action="store_true", help="write tests/training/golden_losses.json from this code's losses")
    parser.addoption("--media-samples", type=Path, help="folder of real-world video and audio files")


def _given(request: pytest.FixtureRequest, option: str) -> Path:
    folder: Path | None = request.config.getoption(option)
    if folder is None:
        pytest.skip(f"no {option} given")
    assert folder.is_dir(), f"{option} {folder} is no folder"
    return folder


@pytest.fixture(scope="session")
def indomer_release(request: pytest.FixtureRequest) -> Path:
    return _given(request, "--indomer")


@pytest.fixture(scope="session")
def media_samples(request: pytest.FixtureRequest) -> Path:
    return _given(request, "--media-samples")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the whole session; commands started by tests see it as well."""
    root = tmp_path_factory.mktemp("cache")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(root)
    yield root / "omnimer_ray"
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def corpus(shared_cache: Path) -> Corpus:
    """24 generated clips with their media: 16 to train on, 8 to validate."""
    from omnimer_ray.corpora.generated import mini
    from omnimer_ray.corpora.generated.recipe import MiniRecipe, SplitSize

    recipe = MiniRecipe(train=SplitSize(num_clips=16, num_videos=4), validation=SplitSize(num_clips=8, num_videos=4))
    return mini.load(recipe, cache=shared_cache, workers=1)


@pytest.fixture(scope="session")
def tiny_base() -> Base:
    from omnimer_ray.model.bases import locate

    return locate("tiny")


@pytest.fixture(scope="session")
def tiny(tiny_base: Base) -> Thinker:
    """The tiny Thinker as it is, for everybody: a test that changes the model loads its own (`fresh`)."""
    from omnimer_ray.model.thinker import load_thinker

    return load_thinker(tiny_base, "fp32")


@pytest.fixture
def fresh(tiny_base: Base) -> Thinker:
    """A tiny Thinker of the test's own."""
    from omnimer_ray.model.thinker import load_thinker

    return load_thinker(tiny_base, "fp32")


@pytest.fixture(scope="session")
def recipe(corpus: Corpus, tiny_base: Base) -> ThinkerConfig:
    from omnimer_ray.config import CorpusConfig
    from omnimer_ray.recipes import omnimer_tiny

    return omnimer_tiny(CorpusConfig(name=corpus.name, fingerprint=corpus.fingerprint), tiny_base.config())


@pytest.fixture(scope="session")
def encoder(tiny: Thinker, recipe: ThinkerConfig, shared_cache: Path) -> Encoder:
    from omnimer_ray.model.inputs import Encoder

    return Encoder(tiny.processor, recipe, shared_cache)


@pytest.fixture(scope="session")
def parts(corpus: Corpus, recipe: ThinkerConfig, shared_cache: Path) -> Parts:
    """The parts that a worker of a test needs to train."""
    from short_training import Parts

    from omnimer_ray.config import OptimizerConfig

    return Parts(corpus, recipe.model_copy(update={"optimizer": OptimizerConfig(learning_rate=1e-3)}), shared_cache)


@pytest.fixture(scope="session")
def two_workers(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Two processes in one gloo group, started once for the session."""
    from workers import Workers

    with Workers(2, tmp_path_factory.mktemp("group") / "store") as workers:
        yield workers
