"""Accepted items as conversations in the ShareGPT form: `conversations` of human and gpt, with `<video>` and `<audio>` where media stand.

LLaMA-Factory reads it as `formatting: sharegpt` with the columns messages: conversations, system, videos, audios.
"""

from __future__ import annotations

from typing import Any

from omnimer_ray.corpora.clips import Clip
from omnimer_ray.outputs.yields import Built, accepted
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.tasks.instructions import Style, conversation

PLACEHOLDERS = {"video": "<video>", "audio": "<audio>"}


def conversations(sweep: Sweep) -> list[dict[str, Any]]:
    """One item of each accepted answer, sorted by instruction and clip; `provenance` has the other columns of its entry."""
    clips = {clip.id: clip for clip in sweep.corpus.clips}
    return [_item(one, clips[name], entry) for one in accepted(sweep) for name, entry in one.entries.items()]


def _item(one: Built, clip: Clip, entry: dict[str, Any]) -> dict[str, Any]:
    system, asked = conversation(clip, one.part.kind, Style.of(one.part.config))
    files = {"video": clip.video_path, "audio": clip.audio_path or clip.video_path}
    used = [part["type"] for part in asked["content"] if part["type"] in PLACEHOLDERS]
    return {
        "system": system["content"][0]["text"],
        "conversations": [
            {"from": "human", "value": "".join(_text(part) for part in asked["content"])},
            {"from": "gpt", "value": _plain(entry["answer"])},
        ],
        "videos": [str(files[kind]) for kind in used if kind == "video"],
        "audios": [str(files[kind]) for kind in used if kind == "audio"],
        "provenance": {"ledger": one.part.key, **{name: value for name, value in entry.items() if name != "answer"}},
    }


def _text(part: dict[str, str]) -> str:
    return PLACEHOLDERS.get(part["type"]) or _plain(part["text"])


def _plain(text: str) -> str:
    """Text in which no placeholder stands: a trainer counts them."""
    for placeholder in PLACEHOLDERS.values():
        text = text.replace(placeholder, placeholder.replace("<", "< "))
    return text
