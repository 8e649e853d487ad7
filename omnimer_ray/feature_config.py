"""Features: an encoder on one view of a clip, and what determines its entries."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from omnimer_ray.config import BaseConfig, Frozen, MediaConfig, Modality, content_hash

View = Literal["text", "described_text", "audio", "frames"]


class Tower(Frozen):
    """Last states of a part of the base, which is frozen: (T, D), D the width of its language model, T by the part.

    vision: video tokens; audio: sound tokens; language: tokens of the transcript alone, without a chat format.
    """

    name: Literal["tower"] = "tower"
    tower: Literal["vision", "audio", "language"]
    revision: str
    precision: Literal["fp32", "bf16"]


class CharNgrams(Frozen):
    """Hashed counts of character n-grams inside words of the transcript, (1, size), each row of length 1 (scikit-learn, HashingVectorizer)."""

    name: Literal["char_ngrams"] = "char_ngrams"
    size: int = Field(1024, ge=8)
    shortest: int = Field(2, ge=1)
    longest: int = Field(4, ge=1)


class Prosody(Frozen):
    """Pitch in semitones over 100 Hz (0 where nothing is voiced), whether it is voiced, and energy in dB, (T, 3), T frames of 10 ms."""

    name: Literal["prosody"] = "prosody"


class Smile(Frozen):
    """GeMAPS v01b's low-level descriptors by openSMILE, (T, 18), T frames of 10 ms; the extra `smile`, whose licence is for research."""

    name: Literal["smile"] = "smile"
    version: str = "GeMAPSv01b"


class Checkpoint(Frozen):
    """Hidden states of a pretrained encoder: of a transcript or a sound (T, D), averaged over layers; of frames CLIP's image vectors, (T, D)."""

    name: Literal["checkpoint"] = "checkpoint"
    model: str  # a hub name, NAME or NAME@COMMIT, or a folder; once it is resolved, the hub name or the folder's own
    revision: str | None = None  # a commit, or a hash of the folder's contents; None: resolved when a sweep is planned
    kind: CheckpointKind | None = None  # its model_type; None: read from its config.json then
    layers: tuple[int, ...] = (-1,)  # of the hidden states, 0 for the embeddings; MMEF-Net averages 16 to 21 of HuBERT-large [S]


class Files(Frozen):
    """Arrays that were made elsewhere: `<clip>.safetensors` with one tensor `features`, (T, D), as `features import-release` writes them."""

    name: Literal["files"] = "files"
    folder: str
    revision: str | None = None  # hash of its contents; None: resolved when a sweep is planned


class OpenFaceCsv(Frozen):
    """OpenFace 2's `<clip>.csv`: action units, landmarks, pose and eyes by the names of their columns, (T, 669); only rows with a face."""

    name: Literal["openface_csv"] = "openface_csv"
    folder: str
    revision: str | None = None


CheckpointKind = Literal["hubert", "wav2vec2", "wavlm", "bert", "roberta", "xlm-roberta", "clip"]
CHECKPOINT_VIEWS: dict[CheckpointKind, View] = {
    **dict.fromkeys(("hubert", "wav2vec2", "wavlm"), "audio"),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), "text"),
    "clip": "frames",
}


class Described(Frozen):
    """A text encoder on the transcript and what the base writes about the clip, freely: it sees no label (MMEF-Net's enriched text)."""

    name: Literal["described"] = "described"
    revision: str  # of the base that writes
    precision: Literal["fp32", "bf16"]
    answer_language: Literal["en", "id", "zh"] = "en"
    adds: tuple[Literal["label", "keywords", "face", "voice"], ...] = ("label", "keywords", "face", "voice")
    prompts: str | None = None  # hash of the instructions; None: resolved when a sweep is planned
    encoder: Annotated[Tower | CharNgrams | Checkpoint, Field(discriminator="name")]


Encoder = Annotated[Tower | CharNgrams | Prosody | Smile | Checkpoint | Files | OpenFaceCsv | Described, Field(discriminator="name")]
VIEWS: dict[str, View] = {
    "vision": "frames",
    "audio": "audio",
    "language": "text",
    "char_ngrams": "text",
    "prosody": "audio",
    "smile": "audio",
    "openface_csv": "frames",
    "described": "described_text",
}
VIEWS_OF: dict[Modality, tuple[View, ...]] = {"text": ("text", "described_text"), "audio": ("audio",), "video": ("frames",)}


PLACES = ("model", "folder")  # of an encoder: where it is; its revision says which one it is


def without_places(settings: dict[str, Any]) -> dict[str, Any]:
    """Nested settings without the places of encoders."""
    return {
        name: without_places(value) if isinstance(value, dict) else value
        for name, value in settings.items()
        if not (name in PLACES and "revision" in settings)
    }


class Feature(Frozen):
    """What an encoder makes of one view of a clip; its hash names a folder of the feature store."""

    encoder: Encoder
    view: View
    media: MediaConfig | None = None  # None for a view of the text

    @model_validator(mode="after")
    def _fits(self) -> Self:
        kind, view = self._sees()
        if self.view != view:
            raise ValueError(f"view {self.view!r} does not go with {kind!r}, which sees {view!r}")
        if kind == "clip" and isinstance(self.encoder, Checkpoint) and self.encoder.layers != (-1,):
            raise ValueError(f"layers {self.encoder.layers} do not go with 'clip', whose image vectors are taken")
        if isinstance(self.encoder, Described) and isinstance(self.encoder.encoder, Tower) and self.encoder.encoder.tower != "language":
            raise ValueError(f"the {self.encoder.encoder.tower} tower reads no text, and so no described text; use 'language'")
        if (self.media is None) != (self.view == "text" or self.is_given):
            what = f"encoder {self.encoder.name!r}" if self.is_given else f"view {self.view!r}"
            raise ValueError(f"{what} {'needs' if self.media is None else 'takes no'} media settings")
        return self

    def _sees(self) -> tuple[str, View]:
        """The encoder in a word, and the view that it takes; a checkpoint that is not resolved may take any."""
        if isinstance(self.encoder, Checkpoint):
            return (self.encoder.kind, CHECKPOINT_VIEWS[self.encoder.kind]) if self.encoder.kind else ("", self.view)
        if isinstance(self.encoder, Files):
            return self.encoder.name, self.view
        kind = self.encoder.tower if isinstance(self.encoder, Tower) else self.encoder.name
        return kind, VIEWS[kind]

    @property
    def is_given(self) -> bool:
        """Whether it is read from a person's files, and not computed from the clip's."""
        return isinstance(self.encoder, Files | OpenFaceCsv)

    @property
    def key(self) -> str:
        """Name of its folder."""
        return content_hash(without_places(self.model_dump()))


def encoder_name(feature: Feature) -> str:
    """A feature's encoder in a few words."""
    match feature.encoder:
        case Tower(tower=tower):
            return f"{tower} tower"
        case Checkpoint(model=model, layers=layers):
            return model + ("" if layers == (-1,) else f" layers {', '.join(map(str, layers))}")
        case Described(encoder=inner, adds=adds):
            return f"{encoder_name(feature.model_copy(update={'encoder': inner}))} with {', '.join(adds)}"
        case Files(folder=folder) | OpenFaceCsv(folder=folder):
            return f"{feature.encoder.name} of {folder.rstrip('/').rpartition('/')[2]}"
        case encoder:
            return encoder.name


def tower_features(base: BaseConfig, media: MediaConfig) -> dict[Modality, Feature]:
    """The last states of the base's own towers."""
    about = {"revision": base.revision, "precision": base.precision}
    return {
        "text": Feature(encoder=Tower(tower="language", **about), view="text"),
        "audio": Feature(encoder=Tower(tower="audio", **about), view="audio", media=media),
        "video": Feature(encoder=Tower(tower="vision", **about), view="frames", media=media),
    }
