"""Keywords that a transcript lacks, and explanations that leak their label, judged on lists that were written before the patterns.

leaks.csv: 100 leaks and 100 honest explanations, half of them English, in a part that the patterns were adjusted on and one that they were
not; then, each written after the patterns found all of the one before, a second list (20 and 20), which they were adjusted on too, and a third
(40 and 40), which they were not. The third list is the estimate; all texts are by one author, not by a model.
"""

import csv
from collections import Counter
from pathlib import Path

import pytest

from omnimer_ray.tasks.checks import GIVEN, RESTATED, absent_keywords, leak

LIST = Path(__file__).parent / "leaks.csv"


@pytest.mark.parametrize(
    ("keyword", "transcript", "absent"),
    [
        ("senang", "saya senang sekali", False),
        ("Senang!", "saya SENANG, sekali", False),
        (" “senang\u00a0sekali” ", "saya senang  sekali.", False),
        ("senang sekali", "sekali senang", True),
        ("senang sekali", "senang banget, sekali", True),
        ("sedih kecewa", "sedih, kecewa", False),
        ("ｓｅｎａｎｇ", "senang", False),  # full width
        ("cafe\u0301", "caf\u00e9", False),
        ("STRASSE", "straße", False),
        ("senang", "senangnya hatiku", False),
        ("hati", "senangnya hatiku", False),
        ("senang hati", "senangnya hatiku", False),
        ("bukan", "bukankah bagus", False),
        ("senangnya", "senang", True),
        ("senang", "kesenangan", True),
        ("senang", "menyenangkan", True),
        ("ha", "hanya", True),
        ("bu", "buku", True),
        ("kata", "kata-kata", False),
        ("kata-kata", "kata kata", False),
        ("kata-kata", "kata", True),
        ("高兴", "我很高兴", False),
        ("高兴", "高很兴", True),
        ("senang", "", True),
        ("", "senang", True),
        (" ... ", "senang ...", True),
    ],
)
def test_a_keyword_is_held_as_consecutive_whole_words(keyword: str, transcript: str, absent: bool) -> None:
    assert absent_keywords([keyword], transcript) == ((keyword,) if absent else ())


def test_absent_keywords_keep_their_order_and_their_own_form() -> None:
    assert absent_keywords(["Marah", "senang", "benci sekali"], "Saya senang.") == ("Marah", "benci sekali")
    assert absent_keywords([], "Saya senang.") == ()


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("seen", {"leaks": 52, "honest": 50, "missed": 0, "other reason": 0, "false alarms": 0}),
        ("held out", {"leaks": 48, "honest": 50, "missed": 0, "other reason": 0, "false alarms": 0}),
        ("second list, seen", {"leaks": 20, "honest": 20, "missed": 0, "other reason": 0, "false alarms": 0}),
        ("third list, held out", {"leaks": 40, "honest": 40, "missed": 15, "other reason": 0, "false alarms": 2}),
    ],
)
def test_misses_and_false_alarms_on_the_list(part: str, found: dict[str, int]) -> None:
    """As found: a change of the patterns is made on the seen parts, and the counts of the held-out parts are reported as they come."""
    counts = Counter(dict.fromkeys(found, 0))
    with LIST.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["part"] != part:
                continue
            reason = leak(row["explanation"], row["label"], row["language"])
            counts["leaks" if row["leak"] else "honest"] += 1
            counts["missed"] += bool(row["leak"]) and reason is None
            counts["other reason"] += bool(row["leak"]) and reason not in (None, row["leak"])
            counts["false alarms"] += not row["leak"] and reason is not None
    print(f"{part}: {dict(counts)}")
    assert counts == found


@pytest.mark.parametrize(
    ("explanation", "label", "language", "reason"),
    [
        ("这个情感是消极的", "negative", "zh", RESTATED),
        ("说话者表达了积极的情感", "positive", "zh", RESTATED),
        ("给定的标签是消极", "negative", "zh", GIVEN),
        ("根据标签，情感为中性", "neutral", "zh", GIVEN),
        ("他皱着眉，声音很低", "negative", "zh", None),
        ("提到了失去和难过的词语", "negative", "zh", None),
        ("语速平稳，没有明显的起伏", "neutral", "zh", None),
        ("The sentiment is positive.", "positive", "en", RESTATED),
        ("The sentiment is positive because she smiles.", "positive", "en", None),
        ("The given sentiment is positive because she smiles.", "positive", "en", GIVEN),
        ("The facial expressions support the sentiment.", "positive", "en", RESTATED),
        ("Positively positive, with positivity.", "positive", "en", RESTATED),
        ("Sentimennya positif.", "positive", "id", RESTATED),
        ("The sentiment is positif.", "positive", "id", RESTATED),  # an Indonesian label explained in English
        ("The facial features show fear.", "fear", "en", RESTATED),
        ("She is fearfully feared.", "fear", "en", None),  # only a long label is known by its start
        ("The sentiment is positive because of 'bangga'.", "positive", "en", None),  # a quoted word of the transcript is a cue
        ('The label "positive" fits.', "positive", "en", GIVEN),
        ('The text is "positive".', "positive", "en", RESTATED),
        ("The sentiment of the speaker's tone is positive, as usual for zorbs.", "positive", "en", RESTATED),  # few unknown words, no cue
        ("Zorbs zorb positively.", "positive", "en", None),
        ("", "positive", "en", RESTATED),
        ("!!!", "positive", "en", RESTATED),
    ],
)
def test_the_reason_of_a_leak(explanation: str, label: str, language: str, reason: str | None) -> None:
    assert leak(explanation, label, language) == reason
