"""The data that a worker receives: the job's folders and the manifest of clips."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from making import clip, tiny_config

from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.select import fold_splits
from omnimer_ray.execution.handout import Job, read_manifest, write_manifest
from omnimer_ray.model.bases import locate

CLIPS = [
    clip("a_1", emotion="fear", sentiment="negative"),
    clip("a_2"),
    clip("a_3"),
    clip("a_4", emotion=None, sentiment=None),
    clip("b_1", split="validation"),
]


def round_trip(path: Path, clips: Sequence[Clip], **changes: Any) -> list[Clip]:
    write_manifest(path, clips)
    return read_manifest(path, tiny_config(**changes))


def test_clips_are_read_back_from_a_manifest_unchanged(tmp_path: Path) -> None:
    clips = [*CLIPS, replace(CLIPS[0], id="c_1", audio_path=Path("/corpus/c_1.wav"), text='é "kutip" \u2028', video_path=None)]
    assert round_trip(tmp_path / "manifest.json", clips) == clips


def test_clips_of_a_manifest_have_the_splits_of_the_runs_fold(tmp_path: Path) -> None:
    clips = [clip(f"{video}_{index}", split="validation" if video == "e" else "train") for video in "abcde" for index in range(3)]
    folded = round_trip(tmp_path / "manifest.json", clips, corpus__folds=5, corpus__fold=1)
    assert folded == list(fold_splits(clips, 5, 1))
    assert {clip.split for clip in folded} == {"train", "validation"}
    shared = round_trip(tmp_path / "manifest.json", clips, corpus__folds=5)
    assert {clip.split for clip in shared} == {"train"}, "supervision covers every clip that any fold trains on"


def test_a_trial_reads_only_training_and_development_clips(tmp_path: Path) -> None:
    clips = [clip(f"{video}_{index}", split="validation" if video == "e" else "train") for video in "abcde" for index in range(3)]
    read = round_trip(tmp_path / "manifest.json", clips, corpus__development=2)
    assert {clip.split for clip in read} == {"train", "development"}
    assert {clip.source_video for clip in read} == set("abcd")


def test_the_state_of_a_running_sweep_is_in_a_subfolder_of_the_results(tmp_path: Path) -> None:
    job = Job(tmp_path, tmp_path, tmp_path, locate("tiny"), None, "1")  # type: ignore[arg-type]
    assert (job.work, job.stop_file) == (tmp_path / ".sweep", tmp_path / ".sweep" / "stop")
