"""Small made-up configs, clips and spaces for tests of what needs no model."""

from pathlib import Path
from typing import Any

from omnimer_ray.config import BaseConfig, CorpusConfig, RunConfig, changed
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.recipes import omnimer_qwen7b, omnimer_tiny
from search_spaces.ablations import space as ablations

CORPUS = CorpusConfig(name="mini", fingerprint="c0ffee")
BASE = BaseConfig(name="tiny", revision="beef", precision="fp32")
ALL = ("audio", "text", "video")


def tiny_config(**changes: Any) -> RunConfig:
    """The tiny recipe with changed fields; a dotted name is written with two underscores."""
    return changed(omnimer_tiny(CORPUS, BASE), {name.replace("__", "."): value for name, value in changes.items()})


def paper_config(**changes: Any) -> RunConfig:
    """The paper's recipe with changed fields."""
    return changed(omnimer_qwen7b(CORPUS, BASE), {name.replace("__", "."): value for name, value in changes.items()})


def clip(name: str, split: str = "train", **changes: Any) -> Clip:
    """One clip whose labels all say neutral, unless told."""
    same: dict[str, Any] = {
        "source_video": name.rpartition("_")[0] or name,
        "topic": "Daily",
        "text": f"ini kalimat {name}",
        "sentiment": "neutral",
        "emotion": "neutral",
        "text_sentiment": "neutral",
        "video_sentiment": "neutral",
        "audio_sentiment": "neutral",
        "video_path": Path(f"/corpus/{name}.mp4"),
        "audio_path": None,
    }
    return Clip(**{**same, "id": name, "split": split, **changes})


__all__ = ["ALL", "BASE", "CORPUS", "ablations", "clip", "paper_config", "tiny_config"]
