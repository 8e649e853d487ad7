"""A file is hashed once, and again as soon as it may have changed."""

import os
from pathlib import Path

import pytest

from omnimer_ray.corpora.files import content_hashes


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "media").mkdir()
    paths = [tmp_path / "media" / name for name in ("a.mp4", "b.mp4")]
    for path in paths:
        path.write_bytes(path.name.encode())
        os.utime(path, (1e9, 1e9))
    return paths


def no_reading(path: Path) -> str:
    raise AssertionError(f"{path} is read again")


def test_a_settled_file_is_read_once(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnimer_ray.corpora.files.SETTLED_SEC", 0)
    hashes = content_hashes(files, tmp_path / "cache")
    assert content_hashes(files, None) == hashes
    monkeypatch.setattr("omnimer_ray.corpora.files._sha256", no_reading)
    assert content_hashes(files, tmp_path / "cache") == hashes
    assert content_hashes(files[:1], tmp_path / "cache") == {files[0]: hashes[files[0]]}
    with pytest.raises(AssertionError, match="is read again"):
        content_hashes(files, None)


def test_a_file_overwritten_with_as_many_bytes_and_its_old_time_is_read_again(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnimer_ray.corpora.files.SETTLED_SEC", 0)
    before = content_hashes(files, tmp_path / "cache")
    files[0].write_bytes(b"x.mp4")
    os.utime(files[0], (1e9, 1e9))
    after = content_hashes(files, tmp_path / "cache")
    assert after[files[0]] != before[files[0]]
    assert after[files[1]] == before[files[1]]


def test_a_file_of_this_moment_is_not_remembered(files: list[Path], tmp_path: Path) -> None:
    """It may change again within the same tick of the file system's clock."""
    content_hashes(files, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_name_that_is_no_text_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnimer_ray.corpora.files.SETTLED_SEC", 0)
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4"))
    path.write_bytes(b"a.mp4")
    assert content_hashes([path], tmp_path / "cache") == content_hashes([path], tmp_path / "cache")
