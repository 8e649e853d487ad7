"""The report page and the figures are complete, self-contained, safe against HTML in the data, and deterministic."""

import io
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from results_folders import HTML_TRANSCRIPT, VARIANTS

from analysis import load, write_all
from analysis.figures import figures
from analysis.grids import yield_grid
from analysis.report import gallery, jpeg_uri, report
from omnimer_ray.corpora.clips import SENTIMENTS

STAND_IN = "media are generated <i>here</i>"


class Page(HTMLParser):
    """Parser that collects tags, addresses and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def written(realistic: Callable[..., Path]) -> tuple[Path, list[Path]]:
    folder = realistic(failed=("Base + Audio Aux",), stand_in=STAND_IN, warnings=["<b>two texts are in both splits</b>"])
    return folder, write_all(folder)


def test_all_files_are_written_at_their_documented_paths(written: tuple[Path, list[Path]]) -> None:
    folder, files = written
    tasks, forms = ("sentiment", "emotion"), ("md", "tex", "html", "csv")
    kinds = ("", "_per_class", "_differences", "_conflicts", "_influence")
    named = {f"tables/{task}{kind}" for task in tasks for kind in kinds} | {"tables/emotion_as_sentiment", "costs/costs"}
    expected = {f"{name}.{form}" for name in named for form in forms} | {
        "report.html",
        "tables/sentiment_flips.csv",
        "tables/emotion_flips.csv",
    }
    expected |= {f"tables/{name}.{form}" for name in ("claims", "supervision") for form in forms[:3]}
    drawn = {f"{task}_{kind}" for task in tasks for kind in ("scores", "differences", "per_class", "confusions")} | {"corpus_labels"}
    expected |= {f"figures/{name}.{form}" for name in drawn for form in ("png", "svg")}
    assert {str(file.relative_to(folder)) for file in files} == expected
    assert files[-1].name == "report.html"
    assert all(file.stat().st_size for file in files)


def test_same_records_give_the_same_bytes(written: tuple[Path, list[Path]]) -> None:
    folder, files = written
    before = {file: file.read_bytes() for file in files}
    code = "import sys, analysis; analysis.write_all(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path), "MPLBACKEND": "svg"},
    )
    assert {file: file.read_bytes() for file in files} == before


def test_page_loads_no_external_resource_and_runs_no_script(written: tuple[Path, list[Path]]) -> None:
    page = Page(written[1][-1].read_text(encoding="utf-8"))
    assert not {"script", "link", "iframe", "object", "b", "i"} & set(page.tags)
    assert all(address.startswith(("data:image/svg+xml;base64,", "data:image/jpeg;base64,", "#")) for address in page.addresses)
    assert "default-src 'none'" in written[1][-1].read_text(encoding="utf-8")


def test_page_shows_question_finished_runs_and_missing_runs(written: tuple[Path, list[Path]]) -> None:
    text = Page(written[1][-1].read_text(encoding="utf-8")).text
    for expected in (
        "Which auxiliary tasks help?",
        "12 of 14 done",
        "2 of 14 runs have no result.",
        STAND_IN,
        "96 clips of 16 source videos",
    ):
        assert expected in text
    for expected in (
        "<b>two texts are in both splits</b>",
        "Missing: emotion, Base + Audio Aux, seed 0: diverged (loss is nan at step 7).",
        *VARIANTS,
    ):
        assert expected in text
    assert text.index(STAND_IN) < text.index("Sentiment: scores")
    tables = len(list((written[0] / "tables").glob("*.md")))
    assert text.count("(stand-in numbers)") == tables + 2, "the note is beside each table, and beside the cases of each task"
    assert "python -m omnimer_ray.sweep ablations" in text


def test_html_in_a_transcript_is_escaped(realistic: Callable[..., Path]) -> None:
    html = report(load(realistic()), {}, num_clips=96)
    assert HTML_TRANSCRIPT in Page(html).text
    assert "<script" not in html
    assert "&lt;script&gt;alert(" in html


def test_gallery_selection_does_not_depend_on_the_scores(realistic: Callable[..., Path]) -> None:
    one, other = gallery(load(realistic())), gallery(load(realistic(failed=("Base",))))
    assert [clip["clip"] for clip in one] == [clip["clip"] for clip in other]
    assert len(one) == 12
    assert all(clip["thumbnails"].startswith("data:image/jpeg;base64,") for clip in one)
    emotion_of = {line["variant"]: line["emotion"] for line in other[0]["answers"]}
    assert emotion_of["Base"] is None
    assert set(emotion_of["Zero-shot"]) == {"label", "right"}


def test_thumbnail_that_is_not_a_jpeg_is_not_shown() -> None:
    assert jpeg_uri(b"<svg onload=alert(1)>") is None
    assert jpeg_uri(None) is None


def test_ledger_is_summed_per_instruction(realistic: Callable[..., Path], small: Path) -> None:
    grid = yield_grid(load(realistic()).ledger)
    assert grid is not None
    assert grid.headings == ("instruction", "label", "agreed", "constrained", "rejected", "clips")
    whole = [line for line in grid.rows if line[1] == "all"]
    assert [line[0] for line in whole] == ["facial_expression", "prosody", "text_keywords"]
    for instruction, _, *made, clips in whole:
        parts = [line for line in grid.rows if line[0] == instruction and line[1] != "all"]
        assert [line[1] for line in parts] == list(SENTIMENTS)
        assert clips == "192"
        assert sum(int(cell.split(" ")[0]) for cell in made) == 192 == sum(int(line[-1]) for line in parts)
    assert yield_grid(load(small).ledger) is None


def test_figures_are_images_of_a_readable_size_and_contrast(small: Path) -> None:
    images = figures(load(small))
    names = {f"sentiment_{kind}" for kind in ("scores", "differences", "per_class", "confusions")} | {"corpus_labels"}
    assert set(images) == {f"{name}.{form}" for name in names for form in ("png", "svg")}
    for name in names:
        image, drawing = images[f"{name}.png"], ElementTree.fromstring(images[f"{name}.svg"])
        assert "prefers-color-scheme: dark" in next(drawing.iter("{http://www.w3.org/2000/svg}style")).text
        opened = Image.open(io.BytesIO(image))
        assert 400 < opened.width < 2000
        assert opened.convert("L").getextrema()[0] < 60 < 250 < opened.convert("L").getextrema()[1]


def test_dollar_signs_in_a_name_are_not_parsed_as_a_formula(small: Path) -> None:
    plan = (small / "plan.json").read_text()
    (small / "plan.json").write_text(
        plan.replace("Base + Text Aux", "$\\\\frac$ _x_ $").replace('"stand_in": null', '"stand_in": "costs $5 and $\\\\bad$"')
    )
    assert (small / "figures" / "sentiment_scores.svg") in write_all(small)


def test_folder_without_runs_gives_a_page(small: Path) -> None:
    for run in (small / "runs").iterdir():
        (run / "record.json").unlink()
    text = Page(write_all(small)[-1].read_text(encoding="utf-8")).text
    assert "3 of 3 runs have no result." in text
