"""Options and fixtures that all tests share: the tiny base, a handful of generated clips, and released data where they are given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--indomer", type=Path, help="folder of the released IndoMER labels")
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
