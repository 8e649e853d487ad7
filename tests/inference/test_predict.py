"""`predict` and `explain` on a person's own files: every modality that is there, every fault named, nothing answered twice."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inference.conftest import signature_of
from typer.testing import CliRunner

from omnimer_ray import explain, predict
from omnimer_ray.config import ThinkerConfig
from omnimer_ray.corpora.clips import EMOTIONS, Corpus
from omnimer_ray.errors import ConfigError
from omnimer_ray.inference.explanation import beside
from omnimer_ray.inference.own_clips import find
from omnimer_ray.media.prosody import Prosody
from omnimer_ray.model.inputs import Encoder


@pytest.fixture
def own(corpus: Corpus, tmp_path: Path) -> Path:
    """Four clips: with everything, with sound alone, with a broken video, and with pictures and a transcript."""
    folder = tmp_path / "own"
    folder.mkdir()
    first, second = corpus.clips[0], corpus.clips[1]
    shutil.copy(first.video_path or "", folder / "all.mp4")
    shutil.copy(first.audio_path or "", folder / "all.wav")
    (folder / "all.txt").write_text("saya  senang\n")
    shutil.copy(second.audio_path or "", folder / "sound.wav")
    (folder / "broken.mp4").write_bytes(b"this is no video")
    (folder / "notes.pdf").write_bytes(b"ignored")
    return folder


def run(app: Any, *words: str) -> tuple[int, str]:
    ended = CliRunner().invoke(app, list(words), catch_exceptions=False)
    return ended.exit_code, ended.output


@pytest.fixture
def command(own: Path, finished: Path, recipe: ThinkerConfig, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    words = [str(own), "--run", signature_of(recipe, task="emotion")[:10], "--results", str(finished), "--out", str(tmp_path / "p.json")]
    return lambda *more: run(predict.app, *words, *more)


def test_each_clip_is_answered_from_what_it_has(command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, printed = command()
    assert code == 3, "a file could not be used"
    assert "STAND-IN: the tiny Thinker" in printed
    assert "  all: audio + text + video\n" in printed
    assert "  sound: audio\n" in printed
    assert "  broken: nothing that can be used  (broken.mp4: " in printed
    found = {row["clip"]: row for row in json.loads((tmp_path / "p.json").read_text())["clips"]}
    assert set(found) == {"all", "broken", "sound"}
    for name in ("all", "sound"):
        assert list(found[name]["probabilities"]) == sorted(EMOTIONS)
        assert sum(found[name]["probabilities"].values()) == pytest.approx(1)
    assert found["broken"]["prediction"] is None
    assert found["broken"]["error"].startswith("broken.mp4: ")
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = {row["clip"]: row for row in csv.DictReader(file)}
    assert rows["sound"]["seen"] == "audio"
    assert float(rows["all"]["p_fear"]) == pytest.approx(found["all"]["probabilities"]["fear"], abs=1e-6)
    assert rows["all"]["stand_in"].startswith("the tiny Thinker")


def test_a_clip_is_not_answered_twice_until_it_changes(
    command: Callable[..., tuple[int, str]], own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command()
    encoded: list[str] = []
    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, clip, *a, **k: encoded.append(clip.id) or encode(self, clip, *a, **k))
    assert f"2 of 3 clips are answered in {tmp_path / 'p.json'} already" in command()[1]
    assert encoded == []
    (own / "sound.txt").write_text("tidak apa-apa")
    command()
    assert encoded == ["sound"]


def test_a_dry_run_loads_nothing(command: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnimer_ray.inference.model.load", lambda *arguments: pytest.fail("the model was loaded"))
    assert command("--dry-run")[0] == 0
    assert not (tmp_path / "p.json").exists()


def test_predictions_of_another_model_are_not_overwritten(command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    out = tmp_path / "p.json"
    out.write_text(json.dumps({"model": "run 1", "identity": "x", "clips": []}))
    with pytest.raises(ConfigError, match=r"holds predictions of run 1; give another --out, or remove it"):
        command()
    out.write_text("[]")
    with pytest.raises(ConfigError, match=r"is there and holds no predictions; give another --out"):
        command()


def test_transcripts_come_from_a_table_or_a_file(own: Path, tmp_path: Path, recipe: ThinkerConfig) -> None:
    table = tmp_path / "texts.csv"
    table.write_text("clip,text\nsound,dari tabel\n", encoding="utf-8-sig")
    found = {one.clip.id: one for one in find(own, table, recipe.media)}
    assert (found["all"].clip.text, found["sound"].clip.text) == ("saya senang", "dari tabel")
    assert (found["sound"].seen, found["all"].clip.audio_path) == (("audio", "text"), own / "all.wav")
    assert find(own / "sound.wav", None, recipe.media)[0].clip.text == ""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"clip,text\nnobody,a\n", "has a transcript of 'nobody', and .* has no such clip"),
        (b"name,text\na,b\n", "needs the columns clip and text; it has name, text"),
        (b"clip,text\nall,a\nall,b\n", "has two transcripts of 'all'; leave one"),
        (b"clip,text\n\xff,a\n", "cannot be read as a CSV file in UTF-8"),
    ],
)
def test_the_error_names_a_fault_of_the_transcripts(own: Path, tmp_path: Path, recipe: ThinkerConfig, content: bytes, text: str) -> None:
    table = tmp_path / "texts.csv"
    table.write_bytes(content)
    with pytest.raises(ConfigError, match=text):
        find(own, table, recipe.media)


def test_a_folder_without_media_is_refused(tmp_path: Path, recipe: ThinkerConfig) -> None:
    with pytest.raises(ConfigError, match=r"has no media file; known endings: \.mp4, "):
        find(tmp_path, None, recipe.media)
    with pytest.raises(ConfigError, match=r"nowhere does not exist; give a folder of video and audio files, or one file"):
        find(tmp_path / "nowhere", None, recipe.media)


def test_the_picture_is_a_png_file() -> None:
    with pytest.raises(ConfigError, match=r"--out face\.jpg: the picture is a PNG file; give a name that ends in \.png"):
        run(explain.app, "clip_1_Book_1", "--run", "x", "--out", "face.jpg")


@pytest.mark.parametrize("words", [["a"], ["a", "--run", "x", "--adapter", "y"]])
def test_one_model_is_named(words: list[str]) -> None:
    for app in (predict.app, explain.app):
        with pytest.raises(ConfigError, match="give either --run SIGNATURE or --adapter FOLDER"):
            run(app, *words)


def test_real_files_are_answered(media_samples: Path, finished: Path, recipe: ThinkerConfig, tmp_path: Path) -> None:
    code, _ = run(
        predict.app, str(media_samples), "--run", signature_of(recipe), "--results", str(finished), "--out", str(tmp_path / "p.json")
    )
    rows = json.loads((tmp_path / "p.json").read_text())["clips"]
    assert code == 0
    assert all(row["error"] is None and sum(row["probabilities"].values()) == pytest.approx(1) for row in rows)


@pytest.mark.parametrize("name", ["all.mp4", "sound.wav"])
def test_a_clip_is_explained_as_text_and_picture(own: Path, finished: Path, recipe: ThinkerConfig, tmp_path: Path, name: str) -> None:
    out = tmp_path / "clip.png"
    words = [str(own / name), "--run", signature_of(recipe, task="emotion"), "--results", str(finished), "--out", str(out)]
    code, printed = run(explain.app, *words)
    assert code == 0
    assert "STAND-IN: the tiny Thinker" in printed
    assert "prosody in the audio: " in printed
    assert "  pitch level: median F0 " in printed
    assert ("face in the video: " in printed, "keywords in the text: " in printed) == (name == "all.mp4", name == "all.mp4")
    assert "\nemotion: " in printed
    assert "  probabilities: " in printed
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_clip_that_is_not_there_names_near_ones(
    finished: Path, recipe: ThinkerConfig, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, corpus: Corpus
) -> None:
    monkeypatch.setattr("omnimer_ray.corpora.load", lambda spec, **options: corpus)
    with pytest.raises(ConfigError, match=r"'clip_0_Nothing_1' is no file, and no clip of mini; (did you mean|known:)"):
        run(explain.app, "clip_0_Nothing_1", "--run", signature_of(recipe), "--results", str(finished))


def test_a_file_that_cannot_be_used_is_refused(own: Path, finished: Path, recipe: ThinkerConfig) -> None:
    with pytest.raises(ConfigError, match=r"broken\.mp4: nothing of it can be used: broken\.mp4: "):
        run(explain.app, str(own / "broken.mp4"), "--run", signature_of(recipe), "--results", str(finished))


def test_claims_stand_beside_measurements(corpus: Corpus) -> None:
    import numpy as np

    empty = np.zeros(101)
    prosody = Prosody(np.arange(101) / 100, empty, empty, 212.4, -2.54, -20.2, 3.96, 0.8)
    found = beside("high and falling, with a quick pace", prosody, corpus.clips[0])
    assert found["pitch level"] == "median F0 212 Hz   (claimed: high)"
    assert found["pitch slope"] == "F0 -2.5 semitones/s over the clip   (claimed: falling)"
    assert found["energy"] == "median -20 dB of full scale   (not claimed)"
    assert found["speaking rate"].startswith("4.0 syllables/s, ")
    silent = prosody._replace(level_hz=None, slope=None, syllables_per_sec=None)
    assert beside("high", silent, corpus.clips[0])["pitch level"] == "nothing is voiced   (claimed: high)"
