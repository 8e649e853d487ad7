"""FusionConfig: a run of a small network, or of a linear probe, on features of the modalities that were computed before.

Numbers of the networks are those of MMSA 2.2.1 for SIMS, whose classes they follow; for these corpora they are assumed [A].
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from omnimer_ray.config import (
    BaseConfig,
    Frozen,
    MediaConfig,
    Modality,
    ObservedConfig,
    OptimizerConfig,
    RunConfig,
    ThinkerConfig,
    changed,
    content_hash,
)

Dropout = Annotated[float, Field(ge=0, lt=1)]


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


class Linear(Frozen):
    """Logistic regression on mean and SD over time of every feature, standardised; C by grouped folds in train (scikit-learn)."""

    name: Literal["linear"] = "linear"
    strengths: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0)  # C, of which the best macro F1 over the folds is taken
    folds: int = Field(3, ge=2)


class Tfn(Frozen):
    """Tensor Fusion Network (Zadeh et al., 2017)."""

    name: Literal["tfn"] = "tfn"
    text_hidden: int = Field(128, ge=1)
    text_out: int = Field(256, ge=1)
    audio_hidden: int = Field(32, ge=1)
    video_hidden: int = Field(128, ge=1)
    fused: int = Field(32, ge=1)
    dropout: Dropout = 0.4


class Mfn(Frozen):
    """Memory Fusion Network (Zadeh et al., 2018); sound and pictures are averaged over the spans of the text's tokens."""

    name: Literal["mfn"] = "mfn"
    text_hidden: int = Field(64, ge=1)
    audio_hidden: int = Field(16, ge=1)
    video_hidden: int = Field(64, ge=1)
    memory: int = Field(64, ge=1)
    attention_hidden: int = Field(128, ge=1)
    gate_hidden: int = Field(64, ge=1)
    attention_dropout: Dropout = 0.2
    retain_dropout: Dropout = 0.2
    update_dropout: Dropout = 0.7
    out_dropout: Dropout = 0.7


class Attention(Frozen):
    """Settings of a network whose width is shared out over heads."""

    width: int = Field(ge=2)
    heads: int = Field(ge=1)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class Mult(Attention):
    """Multimodal Transformer (Tsai et al., 2019); no position looks ahead."""

    name: Literal["mult"] = "mult"
    width: int = Field(50, ge=2)
    heads: int = Field(10, ge=1)
    layers: int = Field(2, ge=1)
    memory_layers: int = Field(3, ge=1)
    text_kernel: int = Field(5, ge=1)
    text_dropout: Dropout = 0.3
    attention_dropout: Dropout = 0.2
    audio_attention_dropout: Dropout = 0.1
    video_attention_dropout: Dropout = 0.0
    residual_dropout: Dropout = 0.2
    embedding_dropout: Dropout = 0.1
    out_dropout: Dropout = 0.1


class Misa(Frozen):
    """Modality-invariant and -specific codes (Hazarika et al., 2020), with the central moment discrepancy."""

    name: Literal["misa"] = "misa"
    width: int = Field(128, ge=2)
    recurrent: int = Field(64, ge=1)  # of the two recurrent layers; MMSA takes the features' width, too much for towers [A]
    dropout: Dropout = 0.0
    difference_weight: float = Field(0.3, ge=0)
    similarity_weight: float = Field(1.0, ge=0)
    reconstruction_weight: float = Field(0.8, ge=0)


class Mmef(Attention):
    """MMEF-Net's fusion of three modality tokens; the paper's numbers [S], what it does not state [A]."""

    name: Literal["mmef"] = "mmef"
    width: int = Field(128, ge=2)  # [S]
    heads: int = Field(2, ge=1)  # [S]
    dropout: Dropout = 0.6  # [S]
    projection: bool = True  # a layer with ReLU and dropout on each modality; False: a linear map alone [A]
    mlp: bool = True  # two layers on the fused features; False: one


class SvmEnsemble(Frozen):
    """Support vector machines of three kernels on subsets of the selected fused features, which vote in place of the network's head."""

    selected: float = Field(0.5, gt=0, le=1)  # share of the fused features that chi-square keeps [A]
    subsets: int = Field(3, ge=1)  # of them, each with three kernels [A]
    share: float = Field(0.67, gt=0, le=1)  # of the selected features in a subset [A]
    strength: float = Field(1.0, gt=0)  # C [A]


Network = Annotated[Linear | Tfn | Mfn | Mult | Misa | Mmef, Field(discriminator="name")]


class FusionConfig(RunConfig):
    """A run of a fusion network on features. Unless `choose` says otherwise, its last epoch counts."""

    method: Literal["fusion"] = "fusion"
    features: dict[Modality, Feature]
    network: Network
    epochs: float = Field(20.0, gt=0)  # [A]
    global_batch: int = Field(32, ge=1)  # items per optimizer step
    optimizer: OptimizerConfig = OptimizerConfig()
    choose: Literal["last", "development", "held_out"] = "last"
    """The epoch that counts: the last one; the best on one of five parts of train by source video, which is then not trained on; or the best on the
    reported part itself, which is optimistic and is said to be (MMEF-Net's protocol)."""
    patience: int | None = Field(None, ge=1)  # epochs without a better one, after which a training that chooses ends
    max_steps: int = Field(64, ge=1)  # [A] of time: longer sequences are averaged over so many equal spans
    standardise: bool = True  # features by mean and SD of the training clips
    refine_labels: bool = False  # training labels that probes of the modalities outvote are changed
    ensemble: SvmEnsemble | None = None  # of mmef, in place of its head
    hide_rate: float = Field(0.0, ge=0, lt=1)  # of each modality of each training item, drawn anew in every epoch; an item keeps one

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """That it has features of."""
        return tuple(sorted(self.features))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.features:
            raise ValueError("features name no modality; give at least one")
        for modality, feature in self.features.items():
            if feature.view not in VIEWS_OF[modality]:
                raise ValueError(f"features.{modality} sees {feature.view!r}; it must see {VIEWS_OF[modality][0]!r}")
        if self.patience is not None and self.choose == "last":
            raise ValueError(f"patience {self.patience} needs a choice of the epoch; set choose to 'development' or 'held_out'")
        if self.ensemble is not None and not isinstance(self.network, Mmef):
            raise ValueError(f"ensemble does not go with network {self.network.name!r}, only with 'mmef'")
        if not isinstance(self.network, Linear) and len(self.features) < len(VIEWS_OF):
            missing = ", ".join(sorted(set(VIEWS_OF) - set(self.features)))
            raise ValueError(
                f"network {self.network.name!r} needs features of every modality, and there are none of {missing}; use 'linear'"
            )
        if not set(self.modalities) & set(self.observed.modalities):
            raise ValueError(f"modalities {self.modalities} and observed.modalities {self.observed.modalities} leave nothing to see")
        return self


def resolve_fusion(config: FusionConfig) -> FusionConfig:
    """The one canonical form: settings that have no effect take one fixed value."""
    data = config.model_dump()
    if isinstance(config.network, Linear):  # no steps, and every clip is seen as it is
        data.update(
            epochs=1.0,
            global_batch=1,
            optimizer=OptimizerConfig().model_dump(),
            max_steps=1,
            hide_rate=0.0,
            standardise=True,
            choose="last",
            patience=None,
        )
        data["class_balance"] = "none" if config.class_balance == "sampling" else config.class_balance
    data["optimizer"].update(carry_over=False, one_cosine=False)
    data["observed"] = _canonical(config.observed, set(config.modalities))
    return FusionConfig.model_validate(data)


def _canonical(observed: ObservedConfig, modalities: set[Modality]) -> dict[str, Any]:
    """What is observed of these modalities, in its one form."""
    shown = modalities & set(observed.modalities)
    data = observed.model_dump() | {"modalities": ObservedConfig().modalities if shown == modalities else shown}
    return data if observed.missing_rate else data | {"draw": 0}


class LateFusionConfig(RunConfig):
    """A run that answers with the mean of its members' probabilities; each member is a network or probe on features, trained alone.

    A member whose modalities are all hidden of a clip is left out of the mean.
    """

    method: Literal["late_fusion"] = "late_fusion"
    members: dict[str, FusionConfig]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.members) < 2:
            raise ValueError(f"late fusion needs two members or more, and has {len(self.members)}")
        return self


SHARED = tuple(RunConfig.model_fields)  # settings that members have from their run


def resolve_late(config: LateFusionConfig) -> LateFusionConfig:
    """The one canonical form: members have the run's corpus, task, seed and what it observes."""
    shared = {name: value for name, value in config.model_dump().items() if name in SHARED and name not in ("method", "observed")}
    members = {
        name: resolve_fusion(member.model_copy(update={"observed": ObservedConfig()})) for name, member in sorted(config.members.items())
    }
    members = {name: resolve_fusion(changed(member, shared)) for name, member in members.items()}
    data = config.model_dump()
    modalities = {modality for member in members.values() for modality in member.modalities}
    data["observed"] = _canonical(config.observed, modalities)
    return LateFusionConfig.model_validate({**data, "members": members})


BATCHES = {"mult": 16, "misa": 64}  # of the others 32
OPTIMIZERS = {
    "tfn": OptimizerConfig(learning_rate=5e-4),
    "mfn": OptimizerConfig(learning_rate=1e-3),
    "mult": OptimizerConfig(learning_rate=2e-3, weight_decay=1e-3, max_grad_norm=0.6),
    "misa": OptimizerConfig(learning_rate=1e-4, weight_decay=5e-5),
    "mmef": OptimizerConfig(learning_rate=5e-5, max_grad_norm=1.0),  # [S]
}


def on_features(recipe: ThinkerConfig, network: Network, features: dict[Modality, Feature] | None = None, **settings: Any) -> FusionConfig:
    """A network on features, with the corpus of a recipe and, unless other features are given, the last states of its base's towers."""
    chosen = {"global_batch": BATCHES.get(network.name, 32), "optimizer": OPTIMIZERS.get(network.name, OptimizerConfig()), **settings}
    return FusionConfig(corpus=recipe.corpus, features=features or tower_features(recipe.base, recipe.media), network=network, **chosen)


def late_fusion(**members: FusionConfig) -> LateFusionConfig:
    """The mean of the members' probabilities."""
    return LateFusionConfig(corpus=next(iter(members.values())).corpus, members=members)


def tower_features(base: BaseConfig, media: MediaConfig) -> dict[Modality, Feature]:
    """The last states of the base's own towers."""
    about = {"revision": base.revision, "precision": base.precision}
    return {
        "text": Feature(encoder=Tower(tower="language", **about), view="text"),
        "audio": Feature(encoder=Tower(tower="audio", **about), view="audio", media=media),
        "video": Feature(encoder=Tower(tower="vision", **about), view="frames", media=media),
    }
