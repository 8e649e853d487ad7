"""Faces differ by emotion, by person and by moment."""

import os
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest

from omnimer_ray.corpora.clips import EMOTIONS
from omnimer_ray.corpora.generated import faces, rendering
from omnimer_ray.errors import MachineError, MissingExtraError

LOOK = faces.look(Random(1), "mini")


def frame(emotion: str, *, look: faces.Look = LOOK, talking: float = 0.0, blink: bool = False, sway_x: float = 0.0) -> np.ndarray:
    return faces.draw(look, faces.Moment(faces.EXPRESSION[emotion], talking, blink, sway_x, 0.0), 112).astype(int)


def test_every_emotion_has_its_own_face() -> None:
    assert tuple(sorted(faces.EXPRESSION)) == tuple(sorted(EMOTIONS))
    frames = [frame(emotion) for emotion in EMOTIONS]
    assert frames[0].shape == (112, 112, 3)
    differences = [np.abs(first - second).mean() for index, first in enumerate(frames) for second in frames[:index]]
    assert min(differences) > 1.0


def test_a_moment_moves_the_face() -> None:
    still = frame("neutral")
    for moved in (frame("neutral", talking=1.0), frame("neutral", blink=True), frame("neutral", sway_x=4.0)):
        assert np.abs(still - moved).mean() > 0.1


def test_weaker_expressions_are_nearer_to_rest() -> None:
    rest = frame("neutral")
    full, half = (faces.scaled(faces.EXPRESSION["anger"], strength) for strength in (1.0, 0.4))
    drawn = [faces.draw(LOOK, faces.Moment(face, 0, False, 0, 0), 112).astype(int) for face in (full, half)]
    assert np.abs(drawn[0] - rest).mean() > np.abs(drawn[1] - rest).mean()


def test_people_differ_and_are_the_same_again() -> None:
    people = [faces.look(Random(seed), "mini") for seed in range(8)]
    assert len(set(people)) == 8
    assert people[3] == faces.look(Random(3), "mini")
    assert {style: frame("neutral", look=LOOK._replace(hair_style=style)).sum() for style in range(4)}.values()
    assert len({frame("neutral", look=LOOK._replace(hair_style=style)).tobytes() for style in range(4)}) == 4


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match="package 'pillow' is not installed"):
        frame("neutral")


def test_without_pyav(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    person = rendering.Person(LOOK, "m1", 0.0)
    performance = rendering.Performance("clip_1_Book_1", person, "Saya membaca buku ini.", "neutral", "neutral", "test")
    with pytest.raises(MissingExtraError, match="package 'av' is not installed"):
        rendering.render_all([performance], tmp_path, rendering.Limits(1.0, 2.0), 1, print)


def test_long_speech_is_cut_at_the_limit(tmp_path: Path) -> None:
    import wave

    performance = rendering.Performance(
        "long", rendering.Person(LOOK, "m1", 0.0), "Saya membaca buku ini. " * 12, "sadness", "sadness", "test"
    )
    rendering.render_all([performance], tmp_path, rendering.Limits(1.0, 3.0), 1, print)
    with wave.open(str(tmp_path / "audio" / "long.wav"), "rb") as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(3.0, abs=0.01)
        assert np.abs(np.frombuffer(file.readframes(file.getnframes()), "<i2")[-22_050:].astype(int)).max() > 100


def test_a_maker_that_dies_is_one_error() -> None:
    with pytest.raises(MachineError, match="a process that makes clips died; free some memory and run the same command again"):
        list(rendering._each(os._exit, [1], 2))  # type: ignore[arg-type, list-item]
