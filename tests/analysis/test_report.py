"""The page, the figures and the command: complete, self-contained, safe and the same every time."""

import io
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import NASTY, VARIANTS
from PIL import Image

from analysis import load, write_all
from analysis.figures import figures
from analysis.report import gallery, jpeg_uri, ledger_grid, report

STAND_IN = "media are generated <i>here</i>"


class Page(HTMLParser):
    """Tags, addresses and text of a page."""

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
    folder = realistic(failed=("Base + Audio Aux",), stand_in=STAND_IN, warnings=["<b>two texts stand on both sides</b>"])
    return folder, write_all(folder)


def test_everything_is_written_where_the_layout_says(written: tuple[Path, list[Path]]) -> None:
    folder, files = written
    kinds = {"tables": ("", "_per_class", "_differences"), "figures": ("_scores", "_differences", "_per_class", "_confusions")}
    expected = {f"tables/{task}{kind}.{form}" for task in ("sentiment", "emotion") for kind in kinds["tables"] for form in ("md", "csv")}
    expected |= {f"figures/{task}{kind}.png" for task in ("sentiment", "emotion") for kind in kinds["figures"]} | {"report.html"}
    assert {str(file.relative_to(folder)) for file in files} == expected
    assert files[-1].name == "report.html"
    assert all(file.stat().st_size for file in files)


def test_the_same_records_give_the_same_bytes(written: tuple[Path, list[Path]]) -> None:
    folder, files = written
    before = {file: file.read_bytes() for file in files}
    code = "import sys, analysis; analysis.write_all(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path), "MPLBACKEND": "svg"},
    )
    assert {file: file.read_bytes() for file in files} == before


def test_the_page_fetches_and_executes_nothing(written: tuple[Path, list[Path]]) -> None:
    page = Page(written[1][-1].read_text(encoding="utf-8"))
    assert not {"script", "link", "iframe", "object", "b", "i"} & set(page.tags)
    assert all(address.startswith(("data:image/png;base64,", "data:image/jpeg;base64,", "#")) for address in page.addresses)
    assert "default-src 'none'" in written[1][-1].read_text(encoding="utf-8")


def test_the_page_tells_what_was_asked_run_and_missing(written: tuple[Path, list[Path]]) -> None:
    text = Page(written[1][-1].read_text(encoding="utf-8")).text
    for told in ("Which auxiliary tasks help?", "12 of 14 done", "2 of 14 runs have no result.", STAND_IN, "96 clips of 16 source videos"):
        assert told in text
    for told in (
        "<b>two texts stand on both sides</b>",
        "Missing: emotion, Base + Audio Aux, seed 0: diverged (loss is nan at step 7).",
        *VARIANTS,
    ):
        assert told in text
    assert text.index(STAND_IN) < text.index("Sentiment: scores")
    assert text.count("(stand-in numbers)") == 2 * 3 + 1, "beside each table"
    assert "python -m omnimer_ray.sweep ablations" in text


def test_a_transcript_that_is_html_is_shown_as_text(realistic: Callable[..., Path]) -> None:
    html = report(load(realistic()), {}, num_clips=96)
    assert NASTY in Page(html).text
    assert "<script" not in html
    assert "&lt;script&gt;alert(" in html


def test_the_gallery_is_chosen_without_the_scores(realistic: Callable[..., Path]) -> None:
    one, other = gallery(load(realistic())), gallery(load(realistic(failed=("Base",))))
    assert [clip["clip"] for clip in one] == [clip["clip"] for clip in other]
    assert len(one) == 12
    assert all(clip["thumbnails"].startswith("data:image/jpeg;base64,") for clip in one)
    said = {line["variant"]: line["emotion"] for line in other[0]["answers"]}
    assert said["Base"] is None
    assert set(said["Zero-shot"]) == {"label", "right"}


def test_a_thumbnail_that_is_no_jpeg_is_not_shown() -> None:
    assert jpeg_uri(b"<svg onload=alert(1)>") is None
    assert jpeg_uri(None) is None


def test_the_ledger_is_summed_per_instruction(realistic: Callable[..., Path], small: Path) -> None:
    grid = ledger_grid(load(realistic()).ledger)
    assert grid is not None
    assert grid.headings == ("instruction", "agreed", "constrained", "rejected", "clips")
    assert [line[0] for line in grid.rows] == ["facial_expression", "prosody", "text_keywords"]
    for _, *made, clips in grid.rows:
        assert clips == "192"
        assert sum(int(cell.split(" ")[0]) for cell in made) == 192
    assert ledger_grid(load(small).ledger) is None


def test_figures_are_images_of_a_readable_size(small: Path) -> None:
    images = figures(load(small))
    assert set(images) == {f"sentiment_{kind}.png" for kind in ("scores", "differences", "per_class", "confusions")}
    for image in images.values():
        opened = Image.open(io.BytesIO(image))
        assert 400 < opened.width < 2000
        assert opened.convert("L").getextrema()[0] < 60 < 250 < opened.convert("L").getextrema()[1]


def test_a_name_with_dollars_is_no_formula(small: Path) -> None:
    plan = (small / "plan.json").read_text()
    (small / "plan.json").write_text(
        plan.replace("Base + Text Aux", "$\\\\frac$ _x_ $").replace('"stand_in": null', '"stand_in": "costs $5 and $\\\\bad$"')
    )
    assert len(write_all(small)) == 6 + 4 + 1


def test_a_folder_without_any_run_still_makes_a_page(small: Path) -> None:
    for run in (small / "runs").iterdir():
        (run / "record.json").unlink()
    text = Page(write_all(small)[-1].read_text(encoding="utf-8")).text
    assert "3 of 3 runs have no result." in text
