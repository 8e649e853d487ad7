"""The generated corpora mini and mini_zh: real media in the layouts of IndoMER and CH-SIMS, with planted effects, made once into a cache.

256 clips take 11 s on two cores and 34 MB. Needs the extra `demo`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from omnimer_ray.corpora import ch_sims, indomer
from omnimer_ray.corpora.assembly import STAND_IN_FILE, Reading
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.corpora.generated import ch_sims_layout, faces, indomer_layout
from omnimer_ray.corpora.generated.plan import LANGUAGES, PlannedClip, plan
from omnimer_ray.corpora.generated.recipe import MAKER_VERSION, MiniRecipe
from omnimer_ray.corpora.generated.rendering import Limits, Performance, Person, render_all
from omnimer_ray.corpora.generated.sentences import Identities
from omnimer_ray.errors import MachineError

__all__ = ["MiniRecipe", "PlannedClip", "load", "make", "plan"]

RECIPES = {"mini": MiniRecipe(), "mini_zh": MiniRecipe.chinese()}

VOICES: dict[Identities, tuple[str, ...]] = {  # espeak-ng variants, half low and half high, none with breath (see speech.py)
    "mini": ("m1", "m3", "m6", "adam", "david", "f1", "linda", "steph", "Annie", "anika"),
    "pretraining": ("m2", "m5", "benjamin", "norbert", "michel", "f4", "belinda", "aunty", "grandma", "Andrea"),
}


def load(
    recipe: MiniRecipe | None = None,
    *,
    cache: Path,
    workers: int | None = None,
    need_media: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> Corpus:
    """The corpus of `recipe`, generated now unless it is cached; without `need_media` only its annotations, and nothing is generated.

    Raises MissingExtraError without the extra `demo`.
    """
    recipe = recipe or MiniRecipe()
    name, stand_in = name_of(recipe), _stand_in(recipe)
    read = indomer.read if recipe.language == "id" else ch_sims.read
    how = Reading(cache, need_media=need_media, fingerprint=recipe.fingerprint())
    folder = cache / name / recipe.fingerprint()
    if not need_media and not folder.exists():
        with tempfile.TemporaryDirectory() as place:
            _write_annotations(recipe, plan(recipe), Path(place))
            return replace(read(Path(place), how), name=name, stand_in=stand_in)
    return replace(read(make(recipe, folder, workers=workers, progress=progress), how), name=name, stand_in=stand_in)


def cues_of(recipe: MiniRecipe) -> dict[str, dict[str, str]]:
    """The emotions that the modalities of each clip express, by the clip's name in its corpus."""
    return {clip.id if recipe.language == "id" else ch_sims_layout.name_of(clip): clip.cues for clip in plan(recipe)}


def name_of(recipe: MiniRecipe) -> str:
    """The corpus's name."""
    return "mini" if recipe.language == "id" else "mini_zh"


def _stand_in(recipe: MiniRecipe) -> str:
    return f"generated faces and synthesised speech ({name_of(recipe)} corpus)"


def make(recipe: MiniRecipe, folder: Path, *, workers: int | None = None, progress: Callable[[str], None] = lambda line: None) -> Path:
    """Generate the corpus in `folder`, unless it exists: in a temporary folder that is renamed, so that concurrent processes do not conflict.

    Raises MachineError if it cannot be written.
    """
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
            building = Path(place) / "corpus"
            _build(recipe, building, workers or os.cpu_count() or 1, progress)
            _rename(building, folder)
    except OSError as error:
        raise MachineError(
            f"the {name_of(recipe)} corpus cannot be written to {folder.parent}: {error}; free some space, or name another cache folder"
        ) from None
    return folder


def _rename(building: Path, folder: Path) -> None:
    try:
        building.rename(folder)
    except OSError:
        if not folder.exists():  # else another maker was faster
            raise


def _build(recipe: MiniRecipe, folder: Path, workers: int, progress: Callable[[str], None]) -> None:
    clips = plan(recipe)
    people = {clip.video: _person(recipe, clip.video) for clip in clips}
    performances = [
        Performance(
            clip.id, people[clip.video], clip.text, clip.cues["audio"], clip.cues["video"], _seed(recipe), LANGUAGES[recipe.language].voice
        )
        for clip in clips
    ]
    render_all(
        performances, folder, Limits(recipe.min_sec, recipe.max_sec), workers, lambda line: progress(f"{name_of(recipe)} corpus: {line}")
    )
    _write_annotations(recipe, clips, folder)
    if recipe.language == "zh":
        ch_sims_layout.place_media(clips, folder)
    (folder / STAND_IN_FILE).write_text(json.dumps({"stand_in": _stand_in(recipe)}) + "\n")  # for a copy that is read as a release
    (folder / "recipe.json").write_text(json.dumps({"maker_version": MAKER_VERSION, **recipe.model_dump()}, indent=2) + "\n")


def _person(recipe: MiniRecipe, video: int) -> Person:
    random = Random(f"{recipe.seed}/{recipe.identities}/{'' if recipe.language == 'id' else recipe.language}person {video}")
    return Person(faces.look(random, recipe.identities), random.choice(VOICES[recipe.identities]), random.uniform(-6, 6))


def _seed(recipe: MiniRecipe) -> str:
    return f"{recipe.identities}/{recipe.seed}" + ("" if recipe.language == "id" else f"/{recipe.language}")


def _write_annotations(recipe: MiniRecipe, clips: Sequence[PlannedClip], folder: Path) -> None:
    (indomer_layout if recipe.language == "id" else ch_sims_layout).write_annotations(clips, folder)
