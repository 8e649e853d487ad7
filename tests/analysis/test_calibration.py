"""The promises of intervals and tests, on tables simulated at the shape of the generated corpus; EXPERIMENTS.md has them at full length."""

from __future__ import annotations

from pathlib import Path

import pytest
from results_folders import realistic_clips, row, write_clips, write_plan

from analysis.calibration import Design, Rate, _crossing, calibrate, power
from analysis.intervals import PRIMARY
from analysis.power import power_lines, rate_lines
from analysis.shapes import CorpusShape, read_shape
from omnimer_ray.errors import ResultsError

NOMINAL = {"rejects": 0.05, "six contrasts": 0.05, "covers": 0.95}
TABLES = 500


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> CorpusShape:
    folder = tmp_path_factory.mktemp("shape")
    write_clips(folder, realistic_clips())
    write_plan(folder, ["Base"], ["sentiment"], [row("Base", "sentiment")])
    return read_shape(folder)


@pytest.mark.parametrize(("num_seeds", "num_folds", "tables"), [(3, None, TABLES), (1, 4, TABLES // 4)])
def test_levels_and_coverage_are_nominal(shape: CorpusShape, num_seeds: int, num_folds: int | None, tables: int) -> None:
    """Within two points and two standard errors."""
    task, design = shape.cell("sentiment", num_seeds, num_folds)
    assert design == (Design(48, 1, 4) if num_folds else Design(16, 3))
    rates = calibrate(task, design, tables, lambda line: None)
    assert {rate.quantity.split(":")[0] for rate in rates} == {"models", "recipe"}
    for rate in rates:
        nominal = next(value for words, value in NOMINAL.items() if rate.quantity.endswith(words))
        assert abs(rate.share - nominal) < 0.02 + 2 * max(rate.error, (nominal * (1 - nominal) / rate.tables) ** 0.5), rate


def test_more_seeds_and_more_videos_find_smaller_differences(shape: CorpusShape) -> None:
    task, _ = shape.cell("sentiment", 1, None)
    few, many = (power(task, Design(videos, seeds), lambda line: None) for videos, seeds in ((16, 1), (100, 3)))
    assert few.keys() == {(score, "models") for score in (*task.scores, *task.supported)}
    for score in task.scores:
        small, large = many[score, "models"], few[score, "models"]
        assert small is not None
        assert large is not None
        assert small < large / 1.8
        assert (many[score, "recipe"] or 100) > small


def test_power_is_read_off_between_the_simulated_effects() -> None:
    assert _crossing([(2.0, 0.3), (4.0, 0.7), (6.0, 0.9)]) == pytest.approx(5.0)
    assert _crossing([(2.0, 0.3), (4.0, 0.7)]) is None
    assert _crossing([(2.0, 0.85)]) == pytest.approx(2 * (0.8 - 0.05) / (0.85 - 0.05))


def test_lines_name_what_cannot_be_found(shape: CorpusShape) -> None:
    sentiment, emotion = power_lines(shape, 1, None, lambda line: None)
    assert sentiment.startswith(
        "sentiment, one split of 16 videos, 1 seed: one contrast finds with 80% power (simulated, not corrected) macro F1 (supported) "
    )
    assert "for these models" in emotion
    assert "recipe" not in sentiment
    assert "F1 of" not in sentiment
    assert "; F1 of negative " in next(power_lines(shape, 1, None, lambda line: None, classes=True))
    lone = shape._replace(clips=shape.clips.filter(shape.clips["source_video"] == "v00"))
    assert (
        next(power_lines(lone, 1, None, print)) == "sentiment, one split of 1 videos, 1 seed: nothing can be found, one video is no sample."
    )


def test_rates_are_printed_with_their_errors(shape: CorpusShape) -> None:
    task, design = shape.cell("sentiment", 1, None)
    lines = list(rate_lines(task, design, [Rate(PRIMARY, "models: test rejects", 0.051, 0.0069, 1000)]))
    assert lines == [
        "sentiment, one split of 16 videos, 1 seed: 1000 tables without any effect",
        "  macro F1 (supported)      models: test rejects    5.1 % ± 0.7  (1000 tables)",
    ]


def test_a_shape_is_read_from_a_csv_too(shape: CorpusShape, tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    shape.clips.select("clip", "split", "source_video", "sentiment", "emotion").write_csv(path)
    assert read_shape(path).cell("emotion", 3, None)[1] == shape.cell("emotion", 3, None)[1]
    assert read_shape(path).cell("emotion", 3, None)[0].supported == shape.cell("emotion", 3, None)[0].supported


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,source_video\na,v\n", r"clips\.csv has no column 'split'; give a results folder, or the file of `corpora export`$"),
        ("split,source_video,sentiment\ntrain,v,neutral\n", r"has no validation clips with sentiment or emotion labels$"),
        ("split,source_video,sentiment\nvalidation,v,netral\n", r"'netral' is no sentiment label; known: negative, neutral, positive$"),
        (None, r"cannot be read as a CSV \(.*\); give a results folder"),
    ],
)
def test_what_is_no_corpus_is_refused(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ResultsError, match=message):
        read_shape(path)
