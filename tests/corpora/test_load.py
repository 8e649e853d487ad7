"""A corpus is named by one word, and a wrong word names the near ones."""

import subprocess
import sys
from pathlib import Path

import pytest

from omnimer_ray.corpora import default_cache, load
from omnimer_ray.errors import ConfigError, CorpusError


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("indomr:/data", "unknown corpus 'indomr:/data'; did you mean 'indomer'?"),
        ("xyz", "unknown corpus 'xyz'; known: 'ch_sims', 'indomer', 'meld', 'mini', 'mini_zh', 'table'"),
        ("indomer", "corpus 'indomer' needs a folder: indomer:PATH"),
        ("indomer:", "corpus 'indomer' needs a folder: indomer:PATH"),
        ("mini:/data", "corpus 'mini:/data': mini is generated and takes no path; write 'mini'"),
        ("", "unknown corpus ''; known: 'ch_sims', 'indomer', 'meld', 'mini', 'mini_zh', 'table'"),
    ],
)
def test_unknown_names(spec: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(spec, cache=tmp_path)
    assert str(caught.value) == message


def test_indomer_takes_a_path_with_colons(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="a:b is no folder"):
        load(f"indomer:{tmp_path}/a:b", cache=tmp_path)


def test_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "omnimer_ray"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert default_cache() == tmp_path / "cache" / "omnimer_ray", "workers are in other directories"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/x")
    assert default_cache() == Path("/home/x/.cache/omnimer_ray")


def test_reading_a_release_loads_nothing_heavy(release: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from omnimer_ray.corpora import load; "
        f"load('indomer:{release}', cache=Path({str(tmp_path)!r}), limit=8, folds=2, fold=0); "
        "print([name for name in ('torch', 'ray', 'transformers', 'av', 'PIL', 'espeakng_loader') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
