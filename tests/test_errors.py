"""Errors name the thing and the way out, and cross Ray."""

import pickle

import pytest

from omnimer_ray import errors
from omnimer_ray.errors import MissingExtraError, OmniMERError, near

TYPES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, OmniMERError)]


@pytest.mark.parametrize("kind", TYPES)
def test_every_error_survives_pickling_with_its_text(kind: type[OmniMERError]) -> None:
    error = MissingExtraError("av", "demo") if kind is MissingExtraError else kind("clip_12: a text\nof two lines")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize(("kind", "code"), [("ConfigError", 2), ("MachineError", 2), ("CorpusError", 3), ("MediaError", 3)])
def test_exit_codes_tell_bad_usage_from_bad_data(kind: str, code: int) -> None:
    assert getattr(errors, kind).exit_code == code


def test_a_missing_extra_comes_with_the_command_that_installs_it() -> None:
    text = "package 'av' is not installed; it comes with the extra 'demo': pip install 'omnimer-ray[demo]'"
    assert str(MissingExtraError("av", "demo")) == text


@pytest.mark.parametrize(
    ("name", "known", "tail"),
    [
        ("ablation", ["ablations", "template"], "did you mean 'ablations'?"),
        ("lora.rnak", ["lora.alpha", "lora.rank", "seed"], "did you mean 'lora.rank' or 'lora.alpha'?"),
        ("qqqq", ["tiny", "Base"], "known: 'Base', 'tiny'"),
        ("qqqq", [], "known: none"),
    ],
)
def test_an_unknown_name_lists_the_near_ones(name: str, known: list[str], tail: str) -> None:
    assert near(name, known) == tail
