"""A lenient reading of a main task's answer: what a reader would accept although the strict reading refuses it.

Accepted: other capitals, quotes and punctuation, text around the JSON object, a missing brace, a label word of the other language, a
label alone. Refused in doubt: a second label, a negation, a label inside another word. It changes no prediction: tables show how many
unparsed answers it would read.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.tasks.instructions import WORDS, read_object

LABEL_OF = {task: {WORDS[language][label]: label for language in WORDS for label in labels} for task, labels in LABELS.items()}  # by word
FIELDS = {"sentiment": "sentiment|sentimen", "emotion": "emotion|emosi"}
_AROUND = (
    "a adalah an answer clip final in ini is it itu jawaban jawabannya json klip label labelnya of overall pembicara s speaker the this"
)
AROUND = frozenset(_AROUND.split())  # words that may surround a label without a field name
OWN = {"sentiment": {"sentiment", "sentimen", "sentimennya"}, "emotion": {"emotion", "emosi", "emosinya"}}
NEGATIONS = re.compile(
    r"(?<!\w)(?:not|no|non|nor|neither|never|none|without|cannot|hardly|wrong|incorrect|unlikely|bukan\w*|tidak\w*|tak|tiada|tanpa|belum"
    r"|enggak|nggak|gak|ga|jangan|kurang|salah)(?!\w)|n['’]t(?!\w)"
)
_QUOTES = "\"'`*“”‘’"
_WORD = re.compile(r"[\w-]+")
_FIELD = {task: re.compile(rf"(?<![\w-])(?:{names})[{_QUOTES}]*\s*[:=]") for task, names in FIELDS.items()}
_VALUE = re.compile(rf"[\s{_QUOTES}\[(]*+([\w-]++)(?=\s*+(?:[{_QUOTES}.,;!)\]}}]|$)|[^\S\n]*+\n)")  # a word that ends its value


def read_leniently(answer: str, task: str) -> str | None:
    """Return the one label that the answer names for the task, or None. A strict answer of any style has the same label."""
    if label := _value(read_object(answer), task):
        return label
    start, end = answer.find("{"), answer.rfind("}") + 1
    around = _plain(answer[:start] + " " + answer[end:])
    if 0 <= start < end and (label := _value(read_object(answer[start:end]), task)):
        return None if _is_contradicted(label, around, task) else label
    text = _without_polarity(_plain(answer)) if task == "emotion" else _plain(answer)
    values = [_VALUE.match(text, field.end()) for field in _FIELD[task].finditer(text)]
    named = {LABEL_OF[task].get(value[1]) if value else None for value in values} if values else _alone(text, task)
    label = named.pop() if len(named) == 1 else None
    return None if label is None or _is_contradicted(label, text, task) else label


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _value(data: dict[str, Any] | None, task: str) -> str | None:
    """The label that the task's field of an object consists of."""
    value = data.get(task) if data is not None else None
    words = _WORD.findall(_plain(value)) if isinstance(value, str) else []
    return LABEL_OF[task].get(words[0]) if len(words) == 1 else None


def _without_polarity(text: str) -> str:
    """An emotion answer without its stated polarity, whose word may be an emotion's too."""
    kept, last = [], 0
    for field in _FIELD["sentiment"].finditer(text):
        value = _VALUE.match(text, field.end())
        if value and value[1] in LABEL_OF["sentiment"]:
            kept.append(text[last : field.start()])
            last = value.end()
    return " ".join([*kept, text[last:]])


def _alone(text: str, task: str) -> set[str | None]:
    """The labels in a text without fields; an unknown word is a None among them, and an emotion may follow its polarity."""
    known = AROUND | OWN[task] | (set(LABEL_OF["sentiment"]) if task == "emotion" else set())
    words = _WORD.findall(text)
    return {LABEL_OF[task].get(word) for word in words if word in LABEL_OF[task] or word not in known}


def _is_contradicted(label: str, text: str, task: str) -> bool:
    """Whether the text has a negation or, anywhere, another label of the task."""
    return bool(NEGATIONS.search(text)) or any(word in text for word, other in LABEL_OF[task].items() if other != label)
