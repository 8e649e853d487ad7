"""The statistics of a corpus, the suspicions, and the command that prints them."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from releases import read, set_cell

from omnimer_ray.corpora import indomer
from omnimer_ray.corpora.assembly import Reading
from omnimer_ray.corpora.check import Table, tables
from omnimer_ray.corpora.clips import Clip, Corpus
from omnimer_ray.corpora.suspicious import suspicious


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "omnimer_ray.corpora", *arguments], capture_output=True, text=True, check=False)


def cells(corpus: Corpus, title: str, row: str) -> tuple[str, ...]:
    table = next(table for table in tables(corpus) if table.title == title)
    return next(line[1:] for line in table.rows if line[0] == row)


def clip(name: str, split: str, text: str, emotion: str | None = "neutral") -> Clip:
    video = name.split("_")[1]
    return Clip(name, video, "Book", split, text, emotion and "neutral", emotion, None, None, None, None, None)  # type: ignore[arg-type]


def test_table_aligns() -> None:
    assert str(Table("T", ("", "all"), [("clips", "7"), ("x", "1,000")])) == "T\n           all\n  clips      7\n  x      1,000"


def test_statistics_of_mini(small_mini: Corpus) -> None:
    assert cells(small_mini, "Key statistics", "clips") == ("24", "14", "10")
    assert cells(small_mini, "Key statistics", "source videos") == ("9", "4", "5")
    assert cells(small_mini, "Key statistics", "seconds a clip")[0].startswith("2.")
    assert cells(small_mini, "Conflicts between modalities", "text differs from fused")[1:] == ("3 (21.4 %)", "2 (20.0 %)")
    assert suspicious(small_mini) is not None


def test_a_corpus_without_modality_labels_or_sound() -> None:
    corpus = Corpus("x", (clip("clip_1_Book_1", "train", "Satu dua."), clip("clip_2_Book_1", "validation", "Tiga.", None)), "f")
    assert [table.title for table in tables(corpus)] == ["Key statistics", "Sentiments", "Emotions: clips in source videos", "Topics"]
    assert cells(corpus, "Key statistics", "seconds a clip") == ("–", "–", "–")
    assert cells(corpus, "Key statistics", "commonest emotion") == ("neutral 1.000", "neutral 1.000", "–")


def test_seconds_say_of_how_many_clips(small_mini: Corpus, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    first, second, *rest = small_mini.clips
    corpus = replace(small_mini, clips=(replace(first, audio_path=tmp_path / "bad.wav"), replace(second, audio_path=None), *rest))
    assert cells(corpus, "Key statistics", "seconds a clip")[0].endswith(", of 22 clips)")


def test_suspicions() -> None:
    text = "kemudian mengatur jalannya diskusi supaya diskusinya maksimal dan penonton bisa belajar banyak dari diskusi tersebut"
    clips = [
        clip("clip_1_Book_1", "train", "Halo semua."),
        clip("clip_2_Book_1", "validation", "Halo semua."),
        clip("clip_3_Book_1", "validation", "halo, semua!"),
        clip("clip_4_Book_1", "train", text),
        clip("clip_5_Book_1", "validation", f"Lalu {text}.", "fear"),
        clip("clip_5_Book_2", "validation", "Dua.", "anger"),
        clip("clip_5_Book_3", "validation", "Tiga.", "anger"),
    ]
    found = suspicious(Corpus("x", tuple(clips), "f"))
    assert "text on both sides: 'Halo semua.' in clip_1_Book_1 (train), clip_2_Book_1 (validation)" in found
    after = "text on both sides after normalising: 'Halo semua.' in clip_1_Book_1 (train), clip_2_Book_1 (validation), clip_3_Book_1 (validation)"
    assert after in found
    assert "near-duplicate source videos: 4 (train) and 5 (validation) share 12 runs of 4 words, 100% of the shorter" in found
    assert "validation: emotion fear has one clip, clip_5_Book_1; its F1 is 0 or depends on that clip alone" in found
    assert "validation: emotion anger: all of 2 clips are from source video 5" in found
    assert "train: emotion disgust has no clip; its F1 is 0 whatever is answered" in found


def test_of_many_findings_of_a_kind_the_rest_is_counted() -> None:
    clips = [
        clip(f"clip_{number}_Book_1", split, f"text {number // 2}")
        for number, split in zip(range(50), ["train", "validation"] * 25, strict=True)
    ]
    found = [line for line in suspicious(Corpus("x", tuple(clips), "f")) if line.startswith("text")]
    assert len(found) == 21
    assert found[-1] == "texts on both sides: 6 more, 26 in all", "25 pairs, and the word that all have in common"


def test_long_lists_are_cut() -> None:
    clips = [clip(f"clip_{number}_Book_1", "train" if number else "validation", "x" * 80) for number in range(9)]
    line = suspicious(Corpus("x", tuple(clips), "f"))[0]
    assert line.startswith(f"text on both sides: '{'x' * 57}…' in clip_0_Book_1 (validation)")
    assert line.endswith("clip_5_Book_1 (train) and 3 more")


def test_command_prints_all_sections(real_release: Path, tmp_path: Path) -> None:
    (real_release / "STAND_IN.json").write_text('{"stand_in": "drawn"}')
    done = command("check", f"indomer:{real_release}", "--cache", str(tmp_path), "--exclude", read(real_release).clips[0].id)
    assert (done.returncode, done.stderr) == (0, "")
    for part in (
        "fingerprint ",
        "STAND-IN: drawn",
        "1 clips excluded: clip_1_",
        "Key statistics",
        "Topics",
        "Warnings: nothing",
        "Suspicious:",
        "Wrong: nothing",
    ):
        assert part in done.stdout


def test_the_command_exits_with_3_on_a_fault(release: Path, tmp_path: Path) -> None:
    next((release / "videos").iterdir()).unlink()
    done = command("check", f"indomer:{release}", "--cache", str(tmp_path))
    assert done.returncode == 3
    assert "(of the annotations alone)" in done.stdout
    assert "Wrong:\n" in done.stdout
    assert "; fetch it, or exclude clip_" in done.stdout
    set_cell(2, 3, "negatip")(release)
    done = command("check", f"indomer:{release}", "--cache", str(tmp_path))
    assert done.returncode == 3
    assert done.stderr.startswith("CorpusError: ")
    assert "did you mean 'negatif'?" in done.stderr
    assert "; fetch it, or exclude clip_" in done.stderr


def test_command_knows_no_such_corpus() -> None:
    done = command("check", "minni")
    assert (done.returncode, done.stderr) == (2, "ConfigError: unknown corpus 'minni'; did you mean 'mini' or 'mini_zh'?\n")


def test_help_is_light() -> None:
    code = "import sys; import omnimer_ray.corpora.__main__; print([n for n in ('torch', 'ray', 'numpy', 'polars', 'pydantic') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_check_finds_the_known_properties_of_the_release(indomer_release: Path, tmp_path: Path) -> None:
    corpus = indomer.read(indomer_release, Reading(cache=tmp_path, need_media=False))
    assert cells(corpus, "Key statistics", "clips") == ("1,944", "1,588", "356")
    assert cells(corpus, "Key statistics", "words a clip")[0] == "11.48"
    assert cells(corpus, "Key statistics", "vocabulary")[0] == "4,066"
    assert cells(corpus, "Key statistics", "commonest sentiment")[2] == "neutral 0.736"
    assert cells(corpus, "Emotions: clips in source videos", "surprise") == ("8 in 7", "7 in 6", "1 in 1")
    assert cells(corpus, "Emotions: clips in source videos", "fear") == ("9 in 4", "5 in 3", "4 in 1")
    assert cells(corpus, "Emotions: clips in source videos", "disgust")[0] == "38 in 9"
    found = {name: cells(corpus, "Conflicts between modalities", name)[0].split("(")[1] for name in CONFLICTS}
    assert found == CONFLICTS
    text = "\n".join(suspicious(corpus))
    for line in KNOWN:
        assert line in text


CONFLICTS = {
    "text differs from fused": "31.8 %)",
    "audio differs from fused": "39.7 %)",
    "video differs from fused": "35.8 %)",
    "the three disagree": "62.1 %)",
    "fused equals none of them": "8.3 %)",
}
KNOWN = (
    "text on both sides: 'Assalamualaikum Warahmatullahi Wabarakatuh.' in clip_114_Sharing_1 (validation), clip_127_Sharing_1 (train)",
    "in clip_150_Tutorials_11 (train), clip_152_Tutorials_3 (validation)",
    "near-duplicate source videos: 150 (train) and 152 (validation)",
    "validation: emotion surprise has one clip, clip_189_Sharing_3",
    "validation: emotion fear: all of 4 clips are from source video 189",
    "validation: emotion disgust: 4 of 5 clips are from source video 199",
    "validation: emotion anger: 8 of 13 clips are from source video 97",
)


@pytest.mark.parametrize(
    "title", ["Key statistics", "Sentiments", "Emotions: clips in source videos", "Conflicts between modalities", "Topics"]
)
def test_every_table_has_a_column_for_every_side(small_mini: Corpus, title: str) -> None:
    table = next(table for table in tables(small_mini) if table.title == title)
    assert table.columns == ("", "all", "train", "validation")
    assert all(len(row) == 4 for row in table.rows)
