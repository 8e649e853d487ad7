"""Tables as exact text, and what missing runs, seeds and folds do to them."""

import csv as stdlib_csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from results_folders import BASE, GOLD, TEXT, row, write_clips, write_plan, write_run

from analysis import load
from analysis.ablation import difference_table, score_schema, score_table
from analysis.formats import markdown
from analysis.grids import DIFFERENCE_NOTE, FORMULAS, LENGTH_NOTE, PER_CLASS_NOTE, RECOVERABLE_NOTE, SCORE_NOTE, score_grid
from analysis.notes import notes
from analysis.per_class import per_class_table
from analysis.render import bounds, decimal, finished_of, mean_count, with_spread
from analysis.sweep_tables import tables, terminal_tables
from analysis.units import calibration_error
from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.markdown import escaped
from omnimer_ray.metrics import scores

SIGNATURES = {variant: row(variant, "sentiment")["signature"] for variant in ("Base", "Base + Text Aux", "All Aux (Hybrid)")}
NOTES = f"""
- Scored on the validation split: 6 clips of 3 source videos. Corpus mini (c0ffee); base tiny (beef).
- Excluded clips: none.
- Seeds: 0.
- macro F1 (supported): mean F1 over the classes on at least 10 source videos: none; too few for an interval: negative 1, neutral 2, positive 1. \
Macro F1 over all classes is descriptive.
- 95 % models: for these trained models on other videos of this kind. 95 % recipe: for training again with other seeds, too. ±: standard deviation over seeds. \
n: finished seeds. An unparsed answer counts as wrong. No interval for a recipe: no class has enough source videos.
- No contrast is registered: this folder's runs began before registrations existed, so every comparison is exploratory.
- Missing: sentiment, All Aux (Hybrid), seed 0: missing.
- Signatures: Base: {SIGNATURES["Base"]}; Base + Text Aux: {SIGNATURES["Base + Text Aux"]}; All Aux (Hybrid): {SIGNATURES["All Aux (Hybrid)"]}.
- Runs: `python -m omnimer_ray.sweep ablations`; this table: `python -m analysis tables FOLDER`
"""


def explained_by(*notes: str) -> str:
    """The notes with the explanations of one kind of table."""
    return NOTES.replace("- Signatures", "".join(f"- {escaped(note)}\n" for note in notes) + "- Signatures")


def test_the_score_table_as_text(small: Path) -> None:
    assert tables(load(small))["sentiment.md"] == (
        """# Sentiment: scores

|  | macro F1 (supported) | 95 % models | macro F1 | accuracy | weighted F1 | UAR | steps | main items | unparsed | recoverable | n |
| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
| majority class | – | – | .222 | .500 | .333 | .333 |  |  | 0 | 0 |  |
| class prior | – | – | .265 | .389 | .323 | .333 |  |  | 0 | 0 |  |
| Base | – | – | <ins>.444</ins> | <ins>.500</ins> | <ins>.556</ins> | <ins>.389</ins> | 12 | 96 | 1 | 0 | 1 |
| Base + Text Aux | – | – | **.667** | **.833** | **.833** | **.667** | 12 | 96 | 1 | 0 | 1 |
| All Aux (Hybrid) | – | – | – | – | – | – | – | – | – | – | 0/1 |
"""
        + explained_by(SCORE_NOTE, FORMULAS, LENGTH_NOTE, RECOVERABLE_NOTE)
    )


def test_the_per_class_table_as_text(small: Path) -> None:
    assert tables(load(small))["sentiment_per_class.md"] == (
        """# Sentiment: F1 per class

|  | negative | neutral | positive | n |
| :-- | --: | --: | --: | --: |
| clips | 2 | 3 | 1 |  |
| source videos | 1 | 2 | 1 |  |
| majority class | .000 | .667 | .000 |  |
| class prior | .000 | .571 | .222 |  |
| Base | .667 | .667 | .000 | 1 |
| Base + Text Aux | 1.000 | 1.000 | .000 | 1 |
| All Aux (Hybrid) | – | – | – | 0/1 |
"""
        + explained_by(PER_CLASS_NOTE)
    )


def test_every_table_of_a_stand_in_is_marked(small: Path) -> None:
    plan = (small / "plan.json").read_text()
    (small / "plan.json").write_text(plan.replace('"stand_in": null', '"stand_in": "drawn faces"', 1))
    for name, text in tables(load(small)).items():
        if name.endswith(".md"):
            assert text.splitlines()[0].endswith(" (stand-in numbers)"), name
            assert "- STAND-IN: drawn faces\n" in text, name
        elif name.endswith(".html"):
            assert " (stand-in numbers)</h1>" in text, name
        elif name.endswith(".tex"):
            assert r" (stand-in numbers)}\label" in text, name
        else:
            assert all(line["stand_in"] == "drawn faces" for line in stdlib_csv.DictReader(io.StringIO(text))), name
    titles = [line for line in terminal_tables(small).splitlines() if line.startswith("Sentiment: ")]
    assert titles == ["Sentiment: scores (stand-in numbers)", "Sentiment: F1 per class (stand-in numbers)"]
    assert "(stand-in" not in plan


def test_the_differences_as_text(small: Path) -> None:
    """Text fixes v1 and v4; no class has enough videos for the first score, and three videos say little about accuracy."""
    assert tables(load(small))["sentiment_differences.md"] == (
        """# Sentiment: differences

| row | minus | macro F1 (supported) | 95 % models | p models | accuracy | 95 % models | macro F1 | p alone | fixed | regressed | pairs |
| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
| Base + Text Aux | Base | – | – | – | +.333 | [−.384, +1.000] | +.222 | .498 | 2 | 0 | 1 |
| All Aux (Hybrid) | Base | – | – | – | – | – | – | – | – | – | 0 |
"""
        + explained_by(DIFFERENCE_NOTE)
    )


def test_the_tables_on_a_terminal(small: Path) -> None:
    text = terminal_tables(small)
    assert text.startswith("""\
Sentiment: scores
                  macro F1 (supported)  95 % models  macro F1  accuracy  weighted F1   UAR  steps  main items  unparsed  recoverable    n
-----------------------------------------------------------------------------------------------------------------------------------------
majority class                       –            –      .222      .500         .333  .333                            0            0
class prior                          –            –      .265      .389         .323  .333                            0            0
Base                                 –            –      .444      .500         .556  .389     12          96         1            0    1
Base + Text Aux                      –            –      .667      .833         .833  .667     12          96         1            0    1
All Aux (Hybrid)                     –            –         –         –            –     –      –           –         –            –  0/1

Sentiment: F1 per class
                  negative  neutral  positive    n
--------------------------------------------------
clips                    2        3         1
source videos            1        2         1
majority class        .000     .667      .000
class prior           .000     .571      .222
""")
    assert text.endswith("Missing: sentiment, All Aux (Hybrid), seed 0: missing.")


def test_every_row_of_a_csv_has_its_provenance(small: Path) -> None:
    rows = list(stdlib_csv.DictReader(io.StringIO(tables(load(small))["sentiment.csv"])))
    assert [line["variant"] for line in rows] == ["majority class", "class prior", "Base", "Base + Text Aux", "All Aux (Hybrid)"]
    base, missing = rows[2], rows[4]
    assert (base["accuracy"], base["accuracy_std"], base["macro_f1"], base["weighted_f1"], base["unparsed"]) == (
        "0.500000",
        "",
        "0.444444",
        "0.555556",
        "1.000000",
    )
    assert (missing["n"], missing["planned"], missing["accuracy"], missing["signatures"]) == ("0", "1", "", SIGNATURES["All Aux (Hybrid)"])
    assert {line["command"] for line in rows} == {"python -m omnimer_ray.sweep ablations"}
    assert {(line["clips"], line["scored_videos"], line["excluded_clips"], line["corpus"], line["base"]) for line in rows} == {
        ("6", "3", "0", "mini c0ffee", "tiny beef")
    }
    assert list(rows[0])[:16] == list(score_schema())[:16]


def test_the_same_predictions_give_the_same_bytes_wherever_the_folder_lies(small: Path, tmp_path: Path) -> None:
    before = tables(load(small))
    moved = small.rename(tmp_path / "moved")
    for run in (moved / "runs").iterdir():
        (run / "cost.json").write_text('{"sec": 99}')  # what a run cost is no part of a score table
    assert tables(load(moved)) == before


def test_a_folder_without_any_run_has_the_reference_rows_alone(small: Path) -> None:
    for run in (small / "runs").iterdir():
        (run / "record.json").unlink()
    table = score_table(load(small), "sentiment")
    assert table["n"].to_list() == [1, 1, 0, 0, 0]
    assert table["accuracy"].to_list() == [0.5, pytest.approx(7 / 18), None, None, None]
    assert per_class_table(load(small), "sentiment")["support"].to_list() == [2, 3, 1] * 5


def seeded(folder: Path, seeds: dict[int, dict[str, str | None] | None]) -> Path:
    """The small corpus with Zero-shot and Base; `seeds` has the answers of Base per seed, None for a missing run."""
    rows = [row("Zero-shot", "sentiment", None), *(row("Base", "sentiment", seed) for seed in seeds)]
    write_clips(
        folder,
        [
            {"clip": clip, "split": "validation", "source_video": f"video{int(clip[1]) // 2}", "sentiment": gold}
            for clip, gold in GOLD.items()
        ],
    )
    write_plan(folder, ["Zero-shot", "Base"], ["sentiment"], rows)
    for planned in rows:
        answers = BASE if planned["seed"] is None else seeds[planned["seed"]]
        if answers is not None:
            write_run(folder, planned, {clip: (GOLD[clip], answers[clip]) for clip in GOLD})
    return folder


def test_seeds_are_averaged_and_their_spread_is_shown_from_two_on(tmp_path: Path) -> None:
    zero_shot, base = score_table(load(seeded(tmp_path, {0: BASE, 1: TEXT})), "sentiment").rows(named=True)[2:]
    assert (zero_shot["n"], zero_shot["accuracy_std"]) == (1, None)
    assert (base["n"], base["planned"]) == (2, 2)
    assert base["accuracy"] == pytest.approx((3 + 5) / 12)
    assert base["accuracy_std"] == pytest.approx((1 / 3) / 2**0.5)  # the sample standard deviation
    assert base["unparsed"] == 1
    assert base["macro_f1"] == pytest.approx((4 / 9 + 6 / 9) / 2)
    assert base["accuracy_low"] < base["accuracy"] < base["accuracy_high"]


def test_a_missing_seed_shows_in_n(tmp_path: Path) -> None:
    results = load(seeded(tmp_path, {0: BASE, 1: None, 2: TEXT}))
    text = tables(results)["sentiment.md"]
    line = next(line for line in text.splitlines() if line.startswith("| Base"))
    assert line.startswith("| Base | – | – | **.556 ± .157** | **.667 ± .236** | ")
    assert line.endswith(" | **.694 ± .196** | **.528 ± .196** | 12 | 96 | 1 | 0 | 2/3 |")
    assert "- Missing: sentiment, Base, seed 1: missing.\n" in text


def test_a_run_without_a_seed_is_paired_with_every_seed(tmp_path: Path) -> None:
    zero_shot = difference_table(load(seeded(tmp_path, {0: BASE, 1: TEXT})), "sentiment").row(0, named=True)
    assert (zero_shot["variant"], zero_shot["pairs"]) == ("Zero-shot", 2)
    assert zero_shot["accuracy"] == pytest.approx(-1 / 6)
    assert (zero_shot["fixed"], zero_shot["regressed"]) == (0, 1)


def test_there_are_no_differences_without_a_base(small: Path) -> None:
    plan = small / "plan.json"
    plan.write_text(plan.read_text().replace('"Base"', '"Rank 8"'))
    for record in small.glob("runs/*/record.json"):
        record.write_text(record.read_text().replace('"Base"', '"Rank 8"'))
    assert difference_table(load(small), "sentiment").is_empty()


def test_a_plan_may_name_its_reference(small: Path) -> None:
    plan = small / "plan.json"
    plan.write_text(plan.read_text().replace('"reference"', '"was"').replace('"space"', '"reference": "Base + Text Aux", "space"', 1))
    rows = difference_table(load(small), "sentiment").select("variant", "reference").rows()
    assert rows == [("Base", "Base + Text Aux"), ("All Aux (Hybrid)", "Base + Text Aux")]


def test_folds_are_pooled_before_they_are_scored(realistic: Callable[..., Path]) -> None:
    results = load(realistic(folds=4))
    base = results.runs.filter((pl.col("variant") == "Base") & (pl.col("task") == "emotion"))
    pooled = results.predictions.filter(pl.col("signature").is_in(base["signature"].to_list()))
    assert pooled.height == results.clips.height == 288
    theirs = scores(
        gold=pooled["gold"].to_list(),
        predicted=pooled["prediction"].to_list(),
        labels=("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"),
    )
    mine = score_table(results, "emotion").filter(pl.col("variant") == "Base").row(0, named=True)
    assert (mine["n"], mine["planned"], mine["accuracy"]) == (1, 1, theirs.values["accuracy"])
    assert mine["macro_f1"] == pytest.approx(theirs.macro_f1, abs=1e-12)
    assert "Scored on 4 folds by source video, pooled: 288 clips of 48 source videos." in tables(results)["emotion.md"]


def test_a_missing_fold_leaves_a_gap_and_the_majority_answers_each_folds_own_train(tmp_path: Path) -> None:
    """Held out: fold 0 has two neutral clips, fold 1 two positive ones; each fold's train holds the other label alone."""
    gold = {"c0": "neutral", "c1": "neutral", "c2": "positive", "c3": "positive"}
    write_clips(tmp_path, [{"clip": clip, "split": "train", "source_video": clip, "sentiment": label} for clip, label in gold.items()])
    rows = [row(variant, "sentiment", 0, fold) for variant in ("Base", "Text") for fold in (0, 1)]
    write_plan(tmp_path, ["Base", "Text"], ["sentiment"], rows, folds=2)
    for planned in rows[:3]:
        write_run(tmp_path, planned, {clip: (gold[clip], "neutral") for clip in (("c0", "c1"), ("c2", "c3"))[planned["fold"]]})
    table = score_table(load(tmp_path), "sentiment")
    assert table.select("variant", "n", "planned", "accuracy").rows() == [
        ("majority class", 1, None, 0),
        ("class prior", 1, None, 0),
        ("Base", 1, 1, 0.5),
        ("Text", 0, 1, None),
    ]
    assert "Missing: sentiment, Text, seed 0 fold 1: missing." in terminal_tables(tmp_path)


def test_the_note_names_exclusions_limit_and_stand_ins(realistic: Callable[..., Path]) -> None:
    results = load(realistic(failed=("Base",), stand_in="faces are drawn", excluded=["clip_a", "clip_b"], limit=300))
    files = tables(results)
    kinds = ("", "_per_class", "_differences", "_conflicts")  # without Base nothing differs from it
    named = {f"{task}{kind}" for task in ("sentiment", "emotion") for kind in kinds} | {"emotion_as_sentiment"}
    forms = {f"{name}.{form}" for name in named for form in ("md", "tex", "html", "csv")}
    single = {f"{name}.{form}" for name in ("claims", "supervision") for form in ("md", "tex", "html")}
    assert set(files) == forms | single
    for name, text in files.items():
        assert "faces are drawn" in text, name
    assert "- STAND-IN: faces are drawn\n" in files["emotion.md"]
    assert "- Excluded clips: 2 (clip_a, clip_b).\n".replace("_", "\\_") in files["emotion.md"]
    assert "limited to 300 clips" in files["emotion.md"]
    assert "- Missing: emotion, Base, seed 0: diverged (loss is nan at step 7).\n" in files["emotion.md"]


def test_text_from_outside_cannot_break_markdown(small: Path) -> None:
    results = load(small)
    grid = score_grid(score_table(results, "sentiment").with_columns(pl.lit("a | <b>\n# c `d`").alias("variant")), "sentiment")
    text = markdown(grid, ["see [x](http://x)"], ["s"], "run ``x`` `y`\nrm")
    assert "| a \\| \\<b\\> # c \\`d\\` | – | – | .222 | .500" in text
    assert "- see \\[x\\](http://x)" in text
    assert "- Runs: ``` run ``x`` `y` rm ```; this table: `python -m analysis tables FOLDER`\n" in text
    assert escaped("two\nlines") == "two lines"


def test_numbers_as_papers_print_them() -> None:
    assert [decimal(value) for value in (0.5824, 1.0, 0.0, -0.0124, -0.0001, None)] == [".582", "1.000", ".000", "−.012", ".000", "–"]
    assert [decimal(value, sign=True) for value in (0.031, -0.031, 0.0, -0.0001)] == ["+.031", "−.031", "+.000", "+.000"]
    assert (bounds(0.1, 0.25), bounds(None, None)) == ("[.100, .250]", "–")
    assert (with_spread(0.5, 0.02), with_spread(0.5, None), with_spread(None, None)) == (".500 ± .020", ".500", "–")
    assert [mean_count(value) for value in (3.0, 2.3333, None)] == ["3", "2.3", "–"]
    assert (finished_of(3, 3), finished_of(0, 1), finished_of(1, None)) == ("3", "0/1", "")


def test_a_note_compares_probabilities_with_answers(small: Path) -> None:
    results = load(small)
    assert not [line for line in notes(results, "sentiment") if line.startswith("Probabilities")]
    answers = results.predictions.filter(pl.col("instruction") == "sentiment")
    likely = [[1.0 if label == answer else 0.0 for label in LABELS["sentiment"]] for answer in answers["prediction"]]
    likely[0] = [1 / 3 + 0.1 * (label != answers["prediction"][0]) for label in LABELS["sentiment"]]
    known = answers.with_columns(
        probabilities=pl.Series(likely, dtype=pl.List(pl.Float64)), closed_set_mass=pl.lit(0.5), generated=pl.col("prediction").is_null()
    )
    parsed = answers["prediction"].drop_nulls().len()
    line = next(line for line in notes(replace(results, predictions=known), "sentiment") if line.startswith("Probabilities"))
    assert line == (
        "Probabilities of labels: over the closed set of answers, whose mass is .500 on average. "
        f"In 1 of {parsed} parsed answers the greedy label is not the most probable one; "
        f"{answers.height - parsed} of {answers.height} answers are outside the closed set."
    )


def test_answers_that_a_lenient_reading_reads_are_counted_and_scored_beside_the_strict_score(tmp_path: Path) -> None:
    """Seed 0: v5 is read and right; seed 1: v4 is read and wrong, v5 is read by nobody."""
    folder = seeded(tmp_path, {0: BASE, 1: {**TEXT, "v4": None}})
    texts = {0: {"v5": '{"sentiment": "Positif"'}, 1: {"v4": "Negative.", "v5": "not positive"}}
    for seed, answers in {0: BASE, 1: {**TEXT, "v4": None}}.items():
        write_run(folder, row("Base", "sentiment", seed), {clip: (GOLD[clip], answers[clip]) for clip in GOLD}, texts=texts[seed])
    cells = score_table(load(folder), "sentiment").row(3, named=True)
    assert (cells["unparsed"], cells["recoverable"]) == (1.5, 1)
    with_them = [{**BASE, "v5": "positive"}, {**TEXT, "v4": "negative"}]
    expected = [scores(gold=list(GOLD.values()), predicted=list(one.values()), labels=LABELS["sentiment"]).macro_f1 for one in with_them]
    assert cells["recoverable_macro_f1"] == pytest.approx(sum(expected) / 2)
    assert f" | 1.5 | 1 ({decimal(sum(expected) / 2)}) | 2 |" in tables(load(folder))["sentiment.md"]


def test_the_labels_of_single_modalities_and_their_vote_are_reference_rows_of_sentiment(tmp_path: Path) -> None:
    """Gold, text, audio, video: the vote follows two that agree, and the text if none do."""
    clips = {
        "c0": ("neutral", "neutral", "positive", "neutral"),
        "c1": ("positive", "neutral", "positive", "positive"),
        "c2": ("negative", "negative", "positive", "neutral"),
        "c3": ("negative", "neutral", "positive", "negative"),
    }
    names = ("sentiment", "text_sentiment", "audio_sentiment", "video_sentiment")
    rows = [
        {"clip": clip, "split": "validation", "source_video": clip, **dict(zip(names, labels, strict=True))}
        for clip, labels in clips.items()
    ]
    planned = row("Base", "sentiment")
    write_clips(tmp_path, [*rows, {**rows[0], "clip": "t", "split": "train"}])
    write_plan(tmp_path, ["Base"], ["sentiment"], [planned])
    write_run(tmp_path, planned, {clip: (labels[0], labels[0]) for clip, labels in clips.items()})
    table = score_table(load(tmp_path), "sentiment")
    assert table.select("variant", "accuracy", "planned").rows() == [
        ("majority class", 0.25, None),
        ("class prior", 0.25, None),
        ("human label of text", 0.5, None),
        ("human label of audio", 0.25, None),
        ("human label of video", 0.75, None),
        ("human labels, vote", 0.75, None),
        ("Base", 1.0, 1),
    ]
    write_clips(tmp_path, [{**rows[0], "text_sentiment": None}, *rows[1:], {**rows[0], "clip": "t", "split": "train"}])
    assert score_table(load(tmp_path), "sentiment")["variant"].to_list() == ["majority class", "class prior", "Base"]


def test_a_row_without_variation_has_no_interval_and_the_note_says_why(realistic: Callable[..., Path]) -> None:
    folder = realistic()
    planned = row("Zero-shot", "sentiment", None)
    clips = load(folder).clips.filter(pl.col("split") == "validation").select("clip", "sentiment")
    write_run(folder, planned, {clip: (gold, gold) for clip, gold in clips.iter_rows()})
    results = load(folder)
    cells = score_table(results, "sentiment").filter(pl.col("variant") == "Zero-shot").row(0, named=True)
    assert (cells["supported_macro_f1"], cells["supported_macro_f1_low"]) == (1, None)
    assert any("No interval for these models: Zero-shot (all source videos agree)." in line for line in notes(results, "sentiment"))


def test_the_calibration_error_is_the_distance_of_confidence_and_accuracy() -> None:
    """Two bins: confidence .95 and right, .95 and wrong; .55 and right. |.95 - .5| * 2/3 + |.55 - 1| / 3."""
    frame = pl.DataFrame(
        {
            "probabilities": [[0.95, 0.05, 0.0], [0.95, 0.05, 0.0], [0.2, 0.25, 0.55]],
            "gold": ["negative", "neutral", "positive"],
        }
    )
    assert calibration_error(frame, "sentiment") == pytest.approx(0.45)
    assert calibration_error(frame.with_columns(probabilities=pl.Series([None, *frame["probabilities"][1:]])), "sentiment") is None
