"""The lenient reading, case by case; and 100,000 arbitrary strings through it and the strict reading: no exception, no label out of garbage."""

import json
import random
import re
import unicodedata
from collections import Counter
from typing import Any, get_args

import pytest

from omnimer_ray.config import Kind, Task
from omnimer_ray.corpora.clips import LABELS, TASKS
from omnimer_ray.tasks.instructions import WORDS, Style, closed_answers, parse
from omnimer_ray.tasks.lenient import read_leniently

STYLES = [Style(hierarchy, language) for hierarchy in ("none", "prompt") for language in ("en", "id")]


@pytest.mark.parametrize(
    "answer",
    [
        "neutral",
        "Netral",
        '"netral."',
        "**NEUTRAL**",
        "ｎｅｕｔｒａｌ",
        "The sentiment is neutral.",
        "Sentimennya adalah netral.",
        "Answer: neutral",
        "Sentiment: neutral",
        "sentiment = neutral",
        "Sentimen: Netral.",
        '{"sentiment": "Neutral"}',
        '{"sentiment": "neutral "}',
        '{"sentiment": "netral"}',
        '{"Sentiment": "neutral"}',
        '{"sentimen": "netral"}',
        '{"label": "neutral"}',
        '["neutral"]',
        '{"sentiment": ["neutral"]}',
        '[{"sentiment": "neutral"}]',
        '{"answer": {"sentiment": "neutral"}}',
        '{"sentiment": "neutral",}',
        '{"sentiment": "neutral"',
        '{"sentiment": "neutral',
        "{'sentiment': 'neutral'}",
        "{“sentiment”: “neutral”}",
        "{sentiment: neutral}",
        '\ufeff{"sentiment": "neutral"}',
        'The answer: {"sentiment": "neutral"}',
        '{"sentiment": "neutral"} because the voice is even',
        '{"sentiment": "neutral"}<|im_end|>',
        '```JSON\n{"sentiment": "neutral"}\n```',
        '```python\n{"sentiment": "neutral"}\n```',
        'Here: ```json\n{"sentiment": "neutral"}\n```',
        '```json\n{"sentiment": "neutral"}',
        '{"sentiment": "neutral", "sentiment": "neutral"}',
        '{"sentiment": "neutral"}\n{"sentiment": "neutral"}',
        '{"sentiment": "neutral", "x": NaN}',
        '{"sentiment": "neutral", "emotion": "happiness",}',
        '{"sentiment": "Neutral", "explanation": "neither positive nor negative"}',
    ],
)
def test_what_a_reader_accepts_is_read(answer: str) -> None:
    assert read_leniently(answer, "sentiment") == "neutral"
    assert parse(answer, "sentiment", Style("none", "en")) is None


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n",
        "{}",
        "null",
        "```",
        '{"sentiment": "..."}',
        '{"sentiment": null}',
        '{"sentiment": 1, "explanation": "neutral"}',
        '{"sentiment": "happy", "explanation": "neutral"}',
        '{"sentiment": {"neutral": 0.1}}',
        '{"sentiment": "sadness"}',
        '{"emotion": "neutral"}',
        '{"text": "neutral"}',
        '{"sentiment": "neutral/positive"}',
        '{"sentiment": "neutral"}\n{"sentiment": "negative"}',
        '{"sentiment": "neutral", "sentiment": "negative"}',
        '[{"sentiment": "neutral"}, {"sentiment": "negative"}]',
        '{"sentiment": "neutral"} or maybe positif',
        "negative, neutral, positive",
        'determine the sentiment: negative, neutral, positive. {"sentiment": "..."}',
        "positive netral",
        "not positive",
        "bukan positif",
        "tidak",
        "tidak positif",
        "bukannya positif",
        "isn't positive",
        "non positive",
        "neither positive nor negative",
        '{"sentiment": "not positive"}',
        '{"sentiment": "tidak positif"}',
        'It is not {"sentiment": "positive"}',
        '{"sentiment": "positive"} is wrong',
        "sentiment: not positive",
        "neutralise",
        "neutral2",
        "netralnya",
        "semi-positive",
        "neutral_face",
        "unpositive",
        '{"sentiment": "positiv',
        "sentiment: positive thinking",
        "The speaker talks about positive thinking",
        "positive if it rains",
        '{"sentiment": "positive", "emotion": "neutral",}',
    ],
)
def test_a_label_is_never_read_out_of_doubt(answer: str) -> None:
    assert read_leniently(answer, "sentiment") is None


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ('{"sentiment": "Negative", "emotion": "Fear"}', "fear"),
        ('{"sentiment": "neutral", "emotion": "fear"', "fear"),
        ("{'sentiment': 'neutral', 'emotion': 'neutral'}", "neutral"),
        ('{"sentiment": "glad", "emotion": "fear"}', "fear"),
        ('{"emotion": "ketakutan"}', "fear"),
        ("Sentiment: negative, Emotion: Fear.", "fear"),
        ("Emosi: Ketakutan", "fear"),
        ("Negative, fear", "fear"),
        ("negatif\nketakutan", "fear"),
        ("neutral, fear", None),
        ("fear and anger", None),
        ("danger", None),
        ('{"sentiment": "neutral"}', None),
        ('{"sentiment": "fear", "emotion": "negative"}', None),
        ("negative", None),
        ("Emotion: no fear", None),
        ("Sentiment: negative, Emotion: Fear or anger", None),
    ],
)
def test_an_emotion_is_read_beside_its_polarity(answer: str, label: str | None) -> None:
    assert read_leniently(answer, "emotion") == label


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("task", TASKS)
def test_a_strict_answer_has_the_same_label(task: Task, style: Style) -> None:
    for answer, parsed in closed_answers(task, style).items():
        assert parse(answer, task, style) == parsed
        assert read_leniently(answer, task) == parsed.label(task)
    tricky = '{"sentiment": "neutral", "Sentiment": "negative", "explanation": "sentiment: positive, not neutral"}'
    assert read_leniently(tricky, "sentiment") == "neutral"
    assert read_leniently('{"sentiment": "neutr\\u0061l"}', "sentiment") == "neutral"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("language", ["en", "id"])
def test_every_label_is_lost_by_a_negation_a_second_label_and_a_longer_word(task: Task, language: str) -> None:
    for label in LABELS[task]:
        word = WORDS[language][label]
        second = next(WORDS["en"][other] for other in LABELS[task] if other != label)
        for frame in ("_", f'{{"{task}": "_"}}', f'{{"{task}": "_"', f"{task}: _"):
            assert read_leniently(frame.replace("_", word.upper()), task) == label
            for garbage in (f"not {word}", f"bukan {word}", f"{word}, {second}", f"{word}x", f"x{word}", f"{word}-x"):
                assert read_leniently(frame.replace("_", garbage), task) is None, garbage


KINDS: tuple[Kind, ...] = get_args(Kind)
ALL_WORDS = [word for language in WORDS for word in WORDS[language].values()]
FRAGMENTS = [
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        '"',
        "'",
        "\\",
        "```json\n",
        "```",
        "\n",
        " ",
        "\t",
        "\ufeff",
        "\u200b",
        "\u2028",
        "\x00",
        "\\u0061",
        "\\ud800",
    ),
    *(
        '{"sentiment": "',
        '{"emotion": "',
        '", "emotion": "',
        '"sentiment"',
        "'emotion'",
        "Sentiment: ",
        "emosi = ",
        '", "explanation": "',
        '"}',
        '"]',
    ),
    *(
        '"keywords": ["',
        "NaN",
        "-Infinity",
        "1e999",
        "9" * 5000,
        "-0",
        "true",
        "null",
        "[" * 2000,
        '{"a":' * 2000,
        "\ud800",
        "\udfff",
        "é",
        "😀",
        "高兴",
    ),
    *(
        "<|im_end|>",
        "<|im_start|>assistant\n",
        "<|AUDIO|>",
        "not ",
        "bukan ",
        "tidak ",
        "isn't ",
        " and ",
        "the ",
        "is ",
        "danger",
        "unpositive",
    ),
]


def arbitrary(rng: random.Random, task: Task) -> str:
    """A mixture of fragments, label words and characters; or an answer, whole or damaged in one place."""
    shape = rng.random()
    if shape < 0.4:
        return "".join(_piece(rng) for _ in range(rng.randrange(12)))
    answer = rng.choice(ANSWERS[task])
    if shape < 0.5:
        return answer
    place = rng.randrange(len(answer) + 1)
    cut = rng.choice((0, 0, 1, 3, len(answer)))
    return answer[:place] + rng.choice(("", _piece(rng))) + answer[place + cut :]


def _piece(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.05:
        return chr(rng.randrange(0x110000))
    if kind < 0.5:
        word = rng.choice(ALL_WORDS)
        return rng.choice((word, word.upper(), word.capitalize(), word[:-1], word + "s", f'"{word}"'))
    return rng.choice(FRAGMENTS[:-12] if kind < 0.52 else SHORT)


SHORT = [fragment for fragment in FRAGMENTS if len(fragment) < 100]
ANSWERS = {task: [answer for style in STYLES for answer in closed_answers(task, style)] for task in TASKS}
NEGATED = re.compile(r"\b(?:not|no|bukan\w*|tidak\w*)\b|n't\b")


def objects(text: str) -> list[dict[str, Any]]:
    """The objects that `json.loads` finds in a text, in its fence or between its outer braces; the last of two equal keys counts."""
    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare.removeprefix("```json").removeprefix("```").removesuffix("```")
    found = []
    for candidate in (bare, text[text.find("{") : text.rfind("}") + 1]):
        try:
            found.append(json.loads(candidate))
        except (ValueError, RecursionError):
            continue
    return [data for data in found if isinstance(data, dict)]


def is_whole_word(word: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){word}(?![\w-])", text) is not None


def check_strict(text: str, kind: Kind, style: Style, given: bool) -> str | None:
    """A label is the word that the one object of the text has in the label's own field."""
    parsed = parse(text, kind, style, given)
    if parsed is None:
        return None
    for name, label in (("sentiment", parsed.sentiment), ("emotion", parsed.emotion)):
        assert label is None or label in LABELS[name]
        assert label is None or any(data.get(name) == WORDS[style.language][label] for data in objects(text)[:1]), text
    return parsed.emotion if kind == "emotion" else parsed.sentiment


def check_lenient(text: str, task: Task) -> str | None:
    """A label's own word is a whole word of the text; and no other label and no negation is, but in other fields of a valid object."""
    label = read_leniently(text, task)
    if label is None:
        return None
    mine = [WORDS[language][label] for language in WORDS]
    others = {WORDS[language][other] for language in WORDS for other in LABELS[task] if other != label}
    values = [unicodedata.normalize("NFKC", str(data.get(task, ""))).casefold() for data in objects(text)]
    plain = unicodedata.normalize("NFKC", text).casefold()
    if any(is_whole_word(word, value) for word in mine for value in values):
        assert not any(is_whole_word(word, value) for word in others for value in values), text
        return label
    assert any(is_whole_word(word, plain) for word in mine), text
    assert not NEGATED.search(plain), text
    if task == "emotion":  # the stated polarity, which may be the word of the neutral emotion, is no second emotion
        plain = re.sub(r"(?:(?:sentiment|sentimen)[^\w:=]*[:=]\W*)+(?:neutral|netral)(?![\w-])", "", plain)
    assert not any(is_whole_word(word, plain) for word in others), text
    return label


def test_no_label_out_of_100_000_arbitrary_strings() -> None:
    rng = random.Random(0)
    counts: Counter[str] = Counter()
    for number in range(100_000):
        task, style = TASKS[number % 2], STYLES[number // 2 % len(STYLES)]
        text = arbitrary(rng, task)
        kind = rng.choice(KINDS) if number % 4 < 2 else task
        given = kind not in TASKS and number % 3 == 0
        strict = check_strict(text, kind, style, given)
        lenient = check_lenient(text, task)
        assert kind != task or strict is None or lenient == strict, text
        counts["strict"] += strict is not None
        counts["lenient"] += lenient is not None
        counts["lenient alone"] += kind == task and strict is None and lenient is not None
    assert counts["strict"] > 2_000, "the strings reach the strict reading"
    assert counts["lenient alone"] > 2_000, "the strings reach the lenient reading"
    assert counts["lenient"] < 60_000, "most strings are garbage"
    print(dict(counts))
