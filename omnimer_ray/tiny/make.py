"""Make the tiny base: pre-trained on auxiliary instructions only, from other seeds, voices and faces than mini's.

It follows the format and perceives imperfectly; it has never seen a main task, nor two modalities at once.

Run:  python -m omnimer_ray.tiny.make           # minutes on one core, into omnimer_ray/tiny/weights
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import typer

from omnimer_ray.config import AUXILIARY_OF, BaseConfig, CorpusConfig, Kind, OptimizerConfig, Task
from omnimer_ray.corpora import default_cache
from omnimer_ray.corpora.clips import SENTIMENT_OF, Clip
from omnimer_ray.corpora.generated import mini
from omnimer_ray.corpora.generated.plan import LANGUAGES
from omnimer_ray.corpora.generated.recipe import LanguageName
from omnimer_ray.corpora.generated.sentences import vocabulary
from omnimer_ray.corpora.generated.text_zh import CHINESE
from omnimer_ray.media.prepare import prepare_media
from omnimer_ray.model.bases import TINY_FOLDER
from omnimer_ray.model.inputs import Encoder
from omnimer_ray.model.thinker import Thinker
from omnimer_ray.recipes import omnimer_tiny, tiny_media
from omnimer_ray.tasks.instructions import WORDS, Parsed, Style, auxiliary_answer, closed_answers, conversation, main_answer
from omnimer_ray.tiny import build
from omnimer_ray.tiny.words import EXPLANATIONS
from omnimer_ray.training.checkpoints import parameters
from omnimer_ray.training.feed import PromptFeed
from omnimer_ray.training.loop import AnswerLoss, init_single_process_group, start_engine, stop_engine, train
from omnimer_ray.training.placement import Placement
from omnimer_ray.training.schedule import Item, Schedule

SEED = 1000
NUM_CLIPS: dict[LanguageName, int] = {"id": 2000, "zh": 1000}
PHASES: tuple[tuple[float, dict[Kind, float] | None], ...] = (  # epochs and mixture; faces are learned most slowly
    (1.4, None),
    (1.0, {"text_keywords": 0.2, "facial_expression": 0.6, "prosody": 0.2}),
)
STYLE = Style("prompt", "en")
REPEATS = 20  # of every answer to a main task, so that the tokenizer learns its words in all languages
OPTIMIZER = OptimizerConfig(learning_rate=1.5e-3, warmup_fraction=0.05, weight_decay=0.01)


def main(out: Path = TINY_FOLDER) -> None:
    """Make the pre-training corpus, learn the tokenizer, train the tiny Thinker in full, and save it with its processor."""
    torch.set_num_threads(1)  # sums in the same order for any number of cores
    clips: dict[str, Clip] = {}
    cues: dict[str, Mapping[str, str]] = {}
    for language, num_clips in NUM_CLIPS.items():
        recipe = mini.MiniRecipe.pretraining(SEED, num_clips, language)
        corpus = mini.load(recipe, cache=default_cache(), progress=print)
        clips |= {clip.id: clip for clip in corpus.split("train")}
        cues |= mini.cues_of(recipe)
    prepare_media(tuple(clips.values()), tiny_media(), default_cache(), os.cpu_count() or 1, print)
    items = {kind: tuple(_items(kind, clips, cues)) for kind in AUXILIARY_OF}
    tokenizer = build.tokenizer(_texts(tuple(clips.values()), items))
    thinker = Thinker(build.thinker(tokenizer, SEED), build.processor(tokenizer))
    pretrain(thinker, clips, items)
    out.mkdir(parents=True, exist_ok=True)
    thinker.model.save_pretrained(out)
    thinker.processor.save_pretrained(out)
    print(f"tiny Thinker of {sum(p.numel() for p in thinker.model.parameters()):,} parameters saved in {out}")


def pretrain(thinker: Thinker, clips: dict[str, Clip], items: Mapping[Kind, tuple[Item, ...]], first: int = 0) -> None:
    """Train all parameters with the project's training loop in this process; every phase has a new optimizer and cosine."""
    config = omnimer_tiny(CorpusConfig(name="mini", fingerprint=""), BaseConfig(name="tiny", revision=""))
    encoder = Encoder(thinker.processor, config, default_cache(), memory_bytes=3 << 30)
    placement = Placement(micro_batch=8, checkpoint_every=10**9)
    thinker.model.requires_grad_(True)
    init_single_process_group()
    for position, (epochs, mixture) in list(enumerate(PHASES))[first:]:
        schedule = Schedule(items, epochs=epochs, global_batch=24, block=8, seed=SEED, stage_position=position, mixture=mixture)
        with tempfile.TemporaryDirectory() as folder:
            engine = start_engine(AnswerLoss(thinker.model), OPTIMIZER, schedule, placement)
            feed = PromptFeed(encoder, clips, placement)
            train(engine, feed, schedule, OPTIMIZER, "items", placement, Path(folder), "tiny", _log, lambda step: False)
            trained = parameters(engine)
            stop_engine(engine)
        with torch.no_grad():
            for name, parameter in thinker.model.named_parameters():
                parameter.copy_(trained[name])


def _items(kind: Kind, clips: Mapping[str, Clip], cues: Mapping[str, Mapping[str, str]]) -> Iterator[Item]:
    """Items: each clip's free question, and every second clip's question with the label given; the answers name the clip's true cue."""
    modality = AUXILIARY_OF[kind].modality
    for place, clip in enumerate(clips.values()):
        cue = cues[clip.id][modality]
        phrases = [phrase for language in LANGUAGES.values() for phrase in language.cues[cue]]
        spoken = [phrase for phrase in phrases if phrase in clip.text] if kind == "text_keywords" else []
        parsed = Parsed(None, None, tuple(spoken), EXPLANATIONS[kind][cue])
        yield Item(clip.id, kind, auxiliary_answer(kind, SENTIMENT_OF[cue], parsed, STYLE))
        if place % 2:
            yield Item(clip.id, kind, auxiliary_answer(kind, None, parsed, STYLE), given=SENTIMENT_OF[cue])


def _texts(clips: tuple[Clip, ...], items: Mapping[Kind, tuple[Item, ...]]) -> Iterator[str]:
    """Prompts, transcripts and answers, of the main tasks too, in all answer languages: their words are in the tokenizer's vocabulary, but the
    model is not trained on the main tasks.

    Chinese is given word by word: it has no spaces, so that of whole sentences the tokenizer would learn whole sentences.
    """
    kinds: tuple[Kind, ...] = ("sentiment", "emotion", *AUXILIARY_OF)
    tasks: tuple[Task, ...] = ("sentiment", "emotion")
    for clip in clips:
        if not clip.text.isascii():
            continue
        for kind in kinds:
            for given in (None, clip.sentiment) if kind in items else (None,):
                for message in conversation(clip, kind, STYLE, given):
                    yield from (part["text"] for part in message["content"] if part["type"] == "text")
        yield from (main_answer(clip, task, STYLE) for task in tasks if clip.label(task))
    yield from REPEATS * vocabulary(CHINESE)
    for language in WORDS:
        for task in tasks:
            yield from REPEATS * list(closed_answers(task, Style("prompt", language)))
    yield from (item.answer for kind in items for item in items[kind] if item.answer.isascii())


def _log(step: object) -> None:
    if step.step % 25 == 0:  # type: ignore[attr-defined]
        print(step, flush=True)


if __name__ == "__main__":
    typer.run(main)
