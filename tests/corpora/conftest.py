"""Small corpora: one generated with its media, and a release whose media are placeholders."""

import shutil
from pathlib import Path

import pytest
from releases import SMALL

from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.corpora.generated import indomer_layout, mini


@pytest.fixture(scope="session")
def corpus_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def small_mini(corpus_cache: Path) -> Corpus:
    """24 generated clips with real media, in 9 source videos."""
    return mini.load(SMALL, cache=corpus_cache, workers=1)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """24 annotated clips in the released layout; the media only exist."""
    folder = tmp_path / "release"
    folder.mkdir()
    clips = mini.plan(SMALL)
    indomer_layout.write_annotations(clips, folder)
    for place, suffix in (("videos", "mp4"), ("audio", "wav")):
        (folder / place).mkdir()
        for clip in clips:
            (folder / place / f"{clip.id}.{suffix}").write_bytes(f"{clip.id}.{suffix}".encode())
    return folder


@pytest.fixture
def real_release(small_mini: Corpus, tmp_path: Path) -> Path:
    """24 clips with real media, to spoil."""
    path = small_mini.clips[0].video_path
    assert path is not None
    return Path(shutil.copytree(path.parent.parent, tmp_path / "release"))
