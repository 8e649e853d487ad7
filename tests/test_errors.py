"""Errors name the thing and the way out, and cross Ray."""

import ast
import pickle
from pathlib import Path

import pytest

from omnimer_ray import errors
from omnimer_ray.errors import MissingExtraError, OmniMERError, joined, near

ROOT = Path(__file__).parent.parent
TYPES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, OmniMERError)]


@pytest.mark.parametrize("kind", TYPES)
def test_every_error_survives_pickling_with_its_text(kind: type[OmniMERError]) -> None:
    error = MissingExtraError("av", "demo") if kind is MissingExtraError else kind("clip_12: a text\nof two lines")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize(("kind", "code"), [("ConfigError", 2), ("MachineError", 2), ("CorpusError", 3), ("MediaError", 3)])
def test_exit_codes_distinguish_bad_usage_from_bad_data(kind: str, code: int) -> None:
    assert getattr(errors, kind).exit_code == code


def test_the_error_for_a_missing_extra_has_the_command_that_installs_it() -> None:
    text = "package 'av' is not installed; it comes with the extra 'demo': pip install 'omnimer-ray[demo]'"
    assert str(MissingExtraError("av", "demo")) == text


@pytest.mark.parametrize(
    ("name", "known", "tail"),
    [
        ("ablation", ["ablations", "template"], "did you mean 'ablations'?"),
        ("lora.rnak", ["lora.alpha", "lora.rank", "seed"], "did you mean 'lora.rank' or 'lora.alpha'?"),
        ("qqqq", ["tiny", "Base"], "known: 'Base', 'tiny'"),
        ("qqqq", [], "known: none"),
        ("tiny", ["tiny"], "known: none"),
        ("rank", ["rank", "ranks"], "did you mean 'ranks'?"),
        (
            "qqqq",
            [f"clip_{number:04d}" for number in range(1944)],
            f"known: {', '.join(repr(f'clip_{n:04d}') for n in range(20))} and 1924 more",
        ),
    ],
)
def test_an_unknown_name_lists_the_near_ones(name: str, known: list[str], tail: str) -> None:
    assert near(name, known) == tail


def test_a_part_of_the_name_may_resemble_a_known_one() -> None:
    assert near("no/rtx3090.yaml", ["laptop", "rtx3090"], like="rtx3090") == "did you mean 'rtx3090'?"


def test_several_faults_are_one_line_without_a_semicolon_behind_a_question() -> None:
    assert joined(["a is 1", "b; did you mean 'c'?", "d"]) == "a is 1; b; did you mean 'c'? d"


def test_every_error_ends_with_the_proposal() -> None:
    """A clause behind the question mark reads as broken: `did you mean 'x'?, or ...`."""
    calls = 0
    for path in (ROOT / "omnimer_ray").rglob("*.py"):
        for text in (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.JoinedStr)):
            for place, part in enumerate(text.values):
                if (
                    isinstance(part, ast.FormattedValue)
                    and isinstance(part.value, ast.Call)
                    and getattr(part.value.func, "id", "") == "near"
                ):
                    calls += 1
                    assert place == len(text.values) - 1, f"{path.name}: {ast.unparse(text)}"
    assert calls >= 12
