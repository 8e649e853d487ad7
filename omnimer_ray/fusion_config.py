"""FusionConfig: a run of a small network, or of a linear probe, on features of the modalities that were computed before.

Numbers of the networks are those of MMSA 2.2.1 for SIMS, whose classes they follow; for these corpora they are assumed [A].
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from omnimer_ray.config import Frozen, Modality, ObservedConfig, OptimizerConfig, RunConfig, ThinkerConfig, changed
from omnimer_ray.feature_config import VIEWS_OF, Feature, tower_features

Dropout = Annotated[float, Field(ge=0, lt=1)]


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
