"""The mini corpus has the sizes, the planted effects and the files that its recipe says."""

import wave
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import pytest
from pydantic import ValidationError
from releases import SMALL

from omnimer_ray.corpora import load
from omnimer_ray.corpora.clips import EMOTIONS, MODALITIES, SENTIMENT_OF, Corpus
from omnimer_ray.corpora.generated import mini
from omnimer_ray.corpora.generated.plan import plan
from omnimer_ray.corpora.generated.recipe import MiniRecipe, Rates, SplitSize
from omnimer_ray.corpora.generated.sentences import HELD_OUT_CUES
from omnimer_ray.corpora.generated.text_id import CUES, INDONESIAN
from omnimer_ray.errors import ConfigError, MachineError


def test_default_has_every_class_on_both_sides_and_no_shared_video() -> None:
    clips = plan(MiniRecipe())
    train, validation = ([clip for clip in clips if clip.split == split] for split in ("train", "validation"))
    assert (len(train), len(validation)) == (160, 96)
    assert not {clip.video for clip in train} & {clip.video for clip in validation}
    assert len({clip.video for clip in train}) == 20
    assert len({clip.video for clip in validation}) == 24
    assert min(Counter(clip.emotion for clip in train)[emotion] for emotion in EMOTIONS) >= 5
    assert min(Counter(clip.emotion for clip in validation)[emotion] for emotion in EMOTIONS) >= 3
    assert Counter(clip.emotion for clip in validation).most_common()[0] == ("neutral", 38)
    assert len({clip.id for clip in clips}) == len({clip.text for clip in clips}) == 256


@pytest.mark.parametrize("split", ["train", "validation"])
def test_planted_rates_are_kept(split: str) -> None:
    recipe = MiniRecipe(
        agreement=Rates(text=0.5, video=1.0, audio=0.75),
        clarity=Rates(text=1.0, video=0.75, audio=0.5),
        train=SplitSize(num_clips=80, num_videos=10),
        validation=SplitSize(num_clips=80, num_videos=10),
    )
    clips = [clip for clip in plan(recipe) if clip.split == split]
    for modality in MODALITIES:
        agrees = sum(clip.sentiments[modality] == SENTIMENT_OF[clip.emotion] for clip in clips)
        clear = sum(SENTIMENT_OF[clip.cues[modality]] == clip.sentiments[modality] for clip in clips)
        assert (agrees / 80, clear / 80) == (recipe.agreement.of(modality), recipe.clarity.of(modality))
    assert all(clip.cues["video"] == clip.emotion or SENTIMENT_OF[clip.cues["video"]] != SENTIMENT_OF[clip.emotion] for clip in clips)


def test_the_text_contains_its_cue() -> None:
    for clip in plan(MiniRecipe()):
        assert any(cue in clip.text for cue in CUES[clip.cues["text"]]), clip.text


def test_pretraining_shares_no_voice_face_filler_and_fewer_cues() -> None:
    from omnimer_ray.corpora.generated import faces

    for people in (mini.VOICES, faces.SKINS, faces.HAIRS, faces.BACKGROUNDS):
        assert not set(people["mini"]) & set(people["pretraining"])
    ours, theirs = INDONESIAN.filler["mini"], INDONESIAN.filler["pretraining"]
    assert not set(ours.openers) & set(theirs.openers) - {""}
    assert not set(ours.subjects) & set(theirs.subjects)
    assert not set(ours.closers) & set(theirs.closers)
    texts = [clip.text for clip in plan(MiniRecipe.pretraining(7, 400))]
    assert not [text for text in texts for cues in CUES.values() for cue in cues[-HELD_OUT_CUES:] if f" {cue} " in text]
    assert len(texts) == 450


def test_seed_changes_the_corpus_and_its_name() -> None:
    assert plan(MiniRecipe()) == plan(MiniRecipe())
    assert [clip.text for clip in plan(MiniRecipe())] != [clip.text for clip in plan(MiniRecipe(seed=1))]
    assert MiniRecipe().fingerprint() == MiniRecipe().fingerprint() != MiniRecipe(seed=1).fingerprint()


def test_files_are_the_released_layout(small_mini: Corpus) -> None:
    assert (small_mini.name, len(small_mini.clips), small_mini.fingerprint) == ("mini", 24, SMALL.fingerprint())
    assert small_mini.stand_in == "generated faces and synthesised speech (mini corpus)"
    assert small_mini.warnings == ()
    folder = small_mini.clips[0].video_path.parent.parent  # type: ignore[union-attr]
    assert sorted(path.name for path in folder.iterdir()) == [
        "3_Class",
        "7_Class",
        "Annotations.csv",
        "STAND_IN.json",
        "audio",
        "recipe.json",
        "videos",
    ]
    assert b"\r\n" in (folder / "Annotations.csv").read_bytes()
    planned = {clip.id: clip for clip in plan(SMALL)}
    for clip in small_mini.clips:
        wanted = planned[clip.id]
        assert (clip.emotion, clip.text, clip.split, clip.source_video) == (wanted.emotion, wanted.text, wanted.split, str(wanted.video))
        assert {name: clip.modality_sentiment(name) for name in MODALITIES} == wanted.sentiments


def test_every_clip_has_a_video_with_both_tracks_and_a_wav(small_mini: Corpus) -> None:
    for clip in small_mini.clips:
        with wave.open(str(clip.audio_path), "rb") as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22_050, 1, 2)
            seconds = file.getnframes() / 22_050
        with av.open(str(clip.video_path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert (video.width, video.height, video.average_rate) == (112, 112, 12)
            assert video.frames == round(seconds * 12)
        assert 2.0 <= seconds <= 3.51


def test_made_once_and_the_same_for_any_number_of_workers(small_mini: Corpus, corpus_cache: Path, tmp_path: Path) -> None:
    folder = corpus_cache / "mini" / SMALL.fingerprint()
    before = folder.stat().st_mtime_ns
    assert mini.load(SMALL, cache=corpus_cache) == small_mini
    assert folder.stat().st_mtime_ns == before
    other = mini.make(SMALL, tmp_path / "other", workers=2)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert path.read_bytes() == (other / path.relative_to(folder)).read_bytes(), path.name


def test_concurrent_makers_leave_one_whole_corpus(tmp_path: Path) -> None:
    recipe = MiniRecipe(train=SplitSize(num_clips=3, num_videos=1), validation=SplitSize(num_clips=2, num_videos=1))
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: mini.make(recipe, tmp_path / "corpora" / "x", workers=2), range(2)))
    assert made == [tmp_path / "corpora" / "x"] * 2
    assert [path.name for path in (tmp_path / "corpora").iterdir()] == ["x"]
    assert len(list((tmp_path / "corpora" / "x" / "videos").iterdir())) == 5


def test_progress_is_reported(tmp_path: Path) -> None:
    pattern: list[str] = []
    recipe = MiniRecipe(train=SplitSize(num_clips=2, num_videos=1), validation=SplitSize(num_clips=1, num_videos=1))
    mini.make(recipe, tmp_path / "x", workers=1, progress=pattern.append)
    assert pattern == ["mini corpus: 3 of 3 clips made"]


def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mini, "render_all", full)
    with pytest.raises(MachineError, match=r"cannot be written to .*: \[Errno 28\] No space left on device; free some space"):
        mini.make(SMALL, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="the mini corpus cannot be written to"):
        mini.make(SMALL, tmp_path / "file" / "x")


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ({"shares": {"neutral": 1.0}}, "must give each of neutral, happiness"),
        ({"shares": dict.fromkeys(EMOTIONS, 0.5)}, "add up to 1"),
        ({"min_sec": 4.0}, "min_sec 4.0 must not exceed max_sec 3.5"),
        ({"train": {"num_clips": 3, "num_videos": 4}}, "num_videos 4 must not exceed num_clips 3"),
        ({"agreement": {"text": 1.5, "video": 1, "audio": 1}}, "less than or equal to 1"),
    ],
)
def test_impossible_recipes(fields: dict[str, object], pattern: str) -> None:
    with pytest.raises(ValidationError, match=pattern):
        MiniRecipe.model_validate(fields)


def test_mini_takes_no_media_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="corpus 'mini' is generated: it takes neither a media folder nor excluded clips"):
        load("mini", media=tmp_path, cache=tmp_path)


def test_an_error_of_renaming_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "_build", lambda recipe, folder, *_: folder.mkdir())
    monkeypatch.setattr(Path, "rename", lambda *_: (tmp_path / "absent").stat())
    with pytest.raises(MachineError, match="No such file or directory"):
        mini.make(SMALL, tmp_path / "x")
