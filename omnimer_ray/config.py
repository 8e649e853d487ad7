"""RunConfig: everything that determines what a run computes, and nothing about where or how fast it runs.

Frozen and complete. `resolve` brings a config into its one canonical form and `signature` hashes that form in full, so
a changed default can never reuse an old checkpoint. [P] stated in the paper, [A] assumed: the paper does not state it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from omnimer_ray.errors import ConfigError, joined, near

RECIPE_VERSION = 1  # raise it when code changes what the same config computes

M = TypeVar("M", bound=BaseModel)
C = TypeVar("C", bound="RunConfig")

Modality = Literal["text", "video", "audio"]
Task = Literal["sentiment", "emotion"]
Emotion = Literal["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"]
AuxiliaryName = Literal["text", "video", "audio"]
Kind = Literal["sentiment", "emotion", "text_keywords", "facial_expression", "prosody"]  # an instruction type
Role = Literal["main", "auxiliary"]
ClassBalance = Literal["none", "inverse_frequency", "sampling"]
LossAverage = Literal["items", "tokens"]
Hierarchy = Literal["none", "prompt"]
AudioSource = Literal["file", "track"]
Scoring = Literal["exact", "generate"]
AuxiliaryAnswers = Literal["full", "label", "shuffled", "placebo"]
AuxiliaryClips = Literal["accepted", "agreed", "constrained", "mixed", "labelled"]
Decoding = Literal["free", "constrained"]
SupervisionGold = Literal["modality", "fused"]


class Auxiliary(NamedTuple):
    """An auxiliary task: its instruction, and the modality that it sees alone and whose sentiment label supervises it (paper IV-B)."""

    kind: Kind
    modality: Modality


AUXILIARIES: dict[AuxiliaryName, Auxiliary] = {  # by the name that `ThinkerConfig.auxiliaries` uses, in the order of a stage's kinds
    "text": Auxiliary("text_keywords", "text"),
    "video": Auxiliary("facial_expression", "video"),
    "audio": Auxiliary("prosody", "audio"),
}
AUXILIARY_OF: dict[Kind, Auxiliary] = {auxiliary.kind: auxiliary for auxiliary in AUXILIARIES.values()}
SCHEDULES: dict[str, tuple[tuple[Role, ...], ...]] = {  # the stages of a schedule, each with the items that it draws from
    "hybrid": (("main", "auxiliary"),),  # eq. 9
    "multi_stage": (("auxiliary",), ("main",)),  # eq. 8
}
MAIN_SCHEDULES: dict[str, tuple[tuple[Role, ...], ...]] = {  # of runs without auxiliaries, beside their one stage
    "main_twice": (("main",), ("main",)),  # a control: the same items again after a restart, as multi_stage restarts
}
ONE, SEVERAL = "one", "several"  # a setting that is one value, or a tuple of values


def _one_or_several(value: Any) -> str:
    return SEVERAL if isinstance(value, tuple | list | set | frozenset) else ONE


OneOrSeveral = Discriminator(_one_or_several)
Epochs = Annotated[float, Field(gt=0)]
Steps = Annotated[int, Field(ge=1)]
OneOrSeveralEpochs = Annotated[Annotated[Epochs, Tag(ONE)] | Annotated[tuple[Epochs, ...], Tag(SEVERAL)], OneOrSeveral]
StepsOrAuxiliaries = Annotated[Annotated[Steps, Tag(ONE)] | Annotated[tuple[AuxiliaryName, ...], Tag(SEVERAL)], OneOrSeveral]


class Frozen(BaseModel):
    """Base of every config part: immutable, no unknown fields, no silent conversions of floats to ints."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


DevelopmentPart = Annotated[int, Field(ge=2)] | Literal["own"]  # one of so many parts of train by source video, or the corpus's own part


class CorpusConfig(Frozen):
    """The exact set of clips; `fingerprint` covers annotations, media contents, exclusions and stand-ins."""

    name: str
    fingerprint: str
    limit: int | None = Field(None, ge=8)  # number of clips over all splits, which keep their shares
    folds: int | None = Field(None, ge=2)  # grouped folds by source video over the parts of select.pooled_splits
    fold: int | None = Field(None, ge=0)  # the fold that is held out; None with folds: no run, but what all folds share
    development: DevelopmentPart | None = None  # is evaluated instead of the reported part
    reported: Literal["validation", "test"] = "validation"  # the corpus's part that tables report
    unfixed: tuple[Emotion, ...] = ()  # emotions that occur with other sentiments in it than in IndoMER

    @model_validator(mode="after")
    def _sides_fit(self) -> Self:
        if self.development == "own" and self.reported == "validation":
            raise ValueError("development 'own' needs a corpus that reports its test part; give a number of parts of train")
        if self.development is not None and self.folds is not None:
            raise ValueError(f"development {self.development} does not go with folds {self.folds}; a run is evaluated on one of the two")
        if self.fold is not None and (self.folds is None or self.fold >= self.folds):
            raise ValueError(f"fold {self.fold} does not fit folds {self.folds}; it must be below the number of folds")
        return self


class BaseConfig(Frozen):
    """The base model; `revision` is a commit or a hash of the folder's contents, so a name cannot mean two bases."""

    name: str  # a hub name, or the folder's own name
    revision: str
    precision: Literal["fp32", "bf16"] = "bf16"  # [A]


class MediaConfig(Frozen):
    """A clip's file -> frames and waveform. All of it is assumed [A]: the paper states nothing."""

    frames_per_second: float = Field(2.0, gt=0)  # Qwen2.5-Omni's default
    min_frames: int = Field(4, ge=2)  # even; a shorter video repeats its last frame
    max_frames: int = Field(64, ge=2)  # even
    min_pixels: int = Field(128 * 28 * 28, ge=28 * 28)  # of one frame, after the resize of qwen-omni-utils
    max_pixels: int = Field(256 * 28 * 28, ge=28 * 28)
    max_sec: float = Field(30.0, gt=0)  # the rest is not read, and the clip is listed as cut
    audio_source: AudioSource = "file"  # the wav beside the video if there is one, or the video's own track

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_frames % 2 or self.max_frames % 2:
            raise ValueError(
                f"min_frames {self.min_frames} and max_frames {self.max_frames} must be even: the vision tower takes frames in pairs"
            )
        if self.min_frames > self.max_frames or self.min_pixels > self.max_pixels:
            raise ValueError("min_frames and min_pixels must not exceed max_frames and max_pixels")
        return self


class LoraConfig(Frozen):
    """Low-rank adapters on self-attention projections (paper IV-D, V-A)."""

    rank: int = Field(8, ge=1)  # [P]
    alpha: int = Field(16, ge=1)  # [A] missing from the text
    dropout: float = 0.0  # [A]
    placement: Literal["thinker", "thinker+audio", "all"] = "thinker+audio"  # [A] the paper's two sentences disagree

    @field_validator("dropout")
    @classmethod
    def _no_dropout(cls, value: float) -> float:
        if value:
            raise ValueError(f"dropout {value} is refused: its randomness is not specified yet, so resumed runs would differ; use 0")
        return value


class OptimizerConfig(Frozen):
    """AdamW with a cosine to zero in every stage [P]; the numbers [A]."""

    learning_rate: float = Field(1e-4, gt=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    epsilon: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup_fraction: float = Field(0.03, ge=0, lt=1)  # of a stage's steps
    max_grad_norm: float = Field(1.0, gt=0)
    carry_over: bool = False  # AdamW's state from a stage to the next one, instead of a new state
    one_cosine: bool = False  # one warm-up and one cosine over all stages, instead of one of each stage


class SupervisionConfig(Frozen):
    """How the base writes auxiliary answers (paper IV-C): greedy, one re-ask, a contradicting or broken second answer is rejected [A]."""

    max_new_tokens: int = Field(128, ge=8)
    retries: int = Field(0, ge=0, le=16)  # samples of each step after an unusable greedy answer
    temperature: float = Field(1.0, gt=0)  # of the samples
    keywords_must_occur: bool = False  # keywords that the transcript does not hold make an answer unusable
    leak_guard: bool = False  # so does an explanation that only restates its label, or says that the label was given
    gold: SupervisionGold = "modality"  # [A] the label that an answer must agree with: the modality's own, or the clip's (fused)


class OtherCorpus(Frozen):
    """A corpus that a run answers besides its own: the part that it reports, in its label space."""

    name: str
    fingerprint: str
    tasks: tuple[Task, ...]  # that it has labels for
    num_clips: int = Field(ge=1)  # of its reported part


class EvaluationConfig(Frozen):
    """Greedy decoding of the main answer [A]; no part of it is in a stage's key, so evaluations share an adapter."""

    max_new_tokens: int = Field(48, ge=4)
    scoring: Scoring = "exact"  # [A] exact: the closed set of answers in one pass, with probabilities; a greedy answer outside is generated
    auxiliaries: bool = True  # the auxiliary instructions are answered as well: what the model recognises from one modality alone
    also: tuple[OtherCorpus, ...] = ()  # other corpora that the run answers
    decoding: Decoding = "free"  # constrained: only labels of the task, and only emotions that fit the stated polarity


EVERY_MODALITY: tuple[Modality, ...] = ("audio", "text", "video")


class ObservedConfig(Frozen):
    """What of a clip a main task is shown at evaluation; no part of it is in a stage's key, so all rates share an adapter."""

    modalities: tuple[Modality, ...] = EVERY_MODALITY  # of those that the run was trained with
    missing_rate: float = Field(0.0, ge=0, lt=1)  # of each modality of each clip; a clip keeps at least one
    draw: int = Field(0, ge=0)  # another set of missing modalities at the same rate

    @field_validator("modalities", mode="before")
    @classmethod
    def _as_sorted_tuple(cls, value: Any) -> Any:
        return _sorted_tuple(value)


class RunConfig(Frozen):
    """One run: a method trained on a task's clips with a seed, and evaluated on the corpus's reported part. Each method has its own kind of it."""

    corpus: CorpusConfig
    method: str
    task: Task = "sentiment"
    train_fraction: float = Field(1.0, gt=0, le=1)  # of the training source videos; a smaller fraction is a part of a larger one
    class_balance: ClassBalance = "none"  # [A] of main items by gold label: weights in the loss, or classes drawn in turn
    observed: ObservedConfig = ObservedConfig()
    seed: int = Field(0, ge=0)

    @property
    def seeded(self) -> bool:
        """Whether the seed has an effect."""
        return True


class ThinkerConfig(RunConfig):
    """A run of Qwen2.5-Omni's Thinker, fine-tuned with LoRA (OmniMER) or as it is."""

    method: Literal["thinker"] = "thinker"
    base: BaseConfig
    training: bool = True  # False: the base without training (zero-shot); stages, seed and schedule have no effect
    modalities: tuple[Modality, ...] = EVERY_MODALITY  # in the prompts of the main task; an auxiliary sees its own
    paraphrase: int = Field(0, ge=0, le=3)  # of the main task's prompt; 0: as everywhere else
    auxiliaries: tuple[AuxiliaryName, ...] = ()
    auxiliary_answers: AuxiliaryAnswers = "full"  # shuffled: among clips of one label; placebo: among all clips
    auxiliary_clips: AuxiliaryClips = "accepted"  # agreed, constrained, mixed: subsets of equal size; labelled: all clips, without a ledger
    schedule: Literal["hybrid", "multi_stage", "main_twice"] | None = "hybrid"  # [A] for single auxiliaries; None: Base's one stage
    epochs: OneOrSeveralEpochs = 5.0  # of every stage [P: 5; per stage A], or one value of each stage
    steps: StepsOrAuxiliaries | None = None
    """Of a run of one stage, instead of its epochs: a number, or as many as a hybrid run with these auxiliaries has."""
    mixture: dict[Kind, float] | None = None  # weights of instruction types; None: their item counts [A]
    loss_average: LossAverage = "items"  # [A] over the global batch
    global_batch: int = Field(128, ge=1)  # items per optimizer step [P]
    block: int = Field(8, ge=1)  # items of one kind that the workers share
    optimizer: OptimizerConfig = OptimizerConfig()
    lora: LoraConfig = LoraConfig()
    media: MediaConfig = MediaConfig()
    hierarchy: Hierarchy = "prompt"  # [A] polarity, then emotion, in one answer
    answer_language: Literal["en", "id", "zh"] = "en"  # [A] of the label words in answers
    supervision: SupervisionConfig = SupervisionConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def seeded(self) -> bool:
        """Not without training."""
        return self.training

    @field_validator("auxiliaries", "modalities", "steps", mode="before")
    @classmethod
    def _as_sorted_tuple(cls, value: Any) -> Any:
        return _sorted_tuple(value)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.global_batch % self.block:
            raise ValueError(f"global_batch {self.global_batch} is not a multiple of block {self.block}")
        if not set(self.modalities) & set(self.observed.modalities):
            raise ValueError(
                f"modalities {self.modalities} and observed.modalities {self.observed.modalities} leave nothing to see; they need one in common"
            )
        if self.auxiliary_clips == "labelled" and self.auxiliary_answers != "label":
            raise ValueError(
                f"auxiliary_clips 'labelled' does not go with auxiliary_answers {self.auxiliary_answers!r}: a clip without an accepted "
                "answer has only its label; use auxiliary_answers 'label'"
            )
        kinds = {AUXILIARIES[name].kind for name in self.auxiliaries} | {self.task}
        if self.mixture is not None:
            if unused := sorted(set(self.mixture) - kinds):
                raise ValueError(f"mixture names {unused}, which the run does not train; its instruction types: {sorted(kinds)}")
            if missing := sorted(kinds - set(self.mixture)):
                raise ValueError(f"mixture lacks {missing}; give every instruction type of the run a weight")
            if min(self.mixture.values()) <= 0:
                raise ValueError("mixture weights must be above 0; leave an auxiliary out instead")
        return self


def _sorted_tuple(value: Any) -> Any:
    """Return a set of names in one form, however it is given; another value is left to the check of its type."""
    return tuple(sorted({str(part) for part in value})) if isinstance(value, set | frozenset | list | tuple) else value


def of_thinker(config: RunConfig) -> ThinkerConfig:
    """The config of a run whose method is the Thinker."""
    assert isinstance(config, ThinkerConfig), f"method {config.method!r} is not the Thinker"
    return config


def resolve(config: ThinkerConfig) -> ThinkerConfig:
    """The one canonical form: settings that have no effect take one fixed value, so equal runs have equal signatures."""
    data = config.model_dump()
    if not config.training:
        data.update(
            auxiliaries=(),
            schedule=None,
            seed=0,
            mixture=None,
            epochs=1.0,
            steps=None,
            loss_average="items",
            class_balance="none",
            global_batch=8,
            block=8,
        )
        data.update(optimizer=OptimizerConfig().model_dump(), lora=LoraConfig().model_dump(), train_fraction=1.0)
    if not data["auxiliaries"]:
        data.update(mixture=None, auxiliary_answers="full", auxiliary_clips="accepted")
        data["schedule"] = data["schedule"] if data["schedule"] in MAIN_SCHEDULES else None
    elif config.schedule not in SCHEDULES:
        other = f", not {config.schedule!r}" if config.schedule else ""
        raise ConfigError(f"auxiliaries {', '.join(config.auxiliaries)} need a schedule: 'hybrid' or 'multi_stage'{other}")
    elif config.mixture is not None:
        data["mixture"] = _relative(config.mixture, stage_kinds(config))
    stages = len(stage_kinds(ThinkerConfig.model_validate({**data, "epochs": 1.0}))) if config.training else 0
    if stages < 2:
        data["optimizer"].update(carry_over=False, one_cosine=False)
    data.update(_length(data, stages))
    counted = {*data["auxiliaries"], *matched_auxiliaries(data["steps"])}
    if not counted:
        data["supervision"] = SupervisionConfig().model_dump()
    if not data["supervision"]["retries"]:
        data["supervision"]["temperature"] = SupervisionConfig().temperature
    if "text" not in counted:
        data["supervision"]["keywords_must_occur"] = False
    if config.task == "sentiment":
        data["hierarchy"] = "none"
    data["evaluation"]["also"] = [other for other in data["evaluation"]["also"] if config.task in other["tasks"]]
    if config.evaluation.decoding == "constrained":  # nothing is left to generate
        fixed = EvaluationConfig(decoding="constrained", auxiliaries=False).model_dump(exclude={"also"})
        data["evaluation"].update(fixed)
    if set(config.modalities) <= set(config.observed.modalities):  # nothing is hidden
        data["observed"]["modalities"] = EVERY_MODALITY
    else:
        data["observed"]["modalities"] = set(config.modalities) & set(config.observed.modalities)
    if not config.observed.missing_rate:
        data["observed"]["draw"] = 0
    if ThinkerConfig.model_validate(data).observed != ObservedConfig():  # the run that hides nothing answers them
        data["evaluation"]["auxiliaries"] = False
    return ThinkerConfig.model_validate(data)


def _length(data: dict[str, Any], stages: int) -> dict[str, Any]:
    """Epochs and steps in their one form. Raises ConfigError if they do not go with the number of stages."""
    epochs, steps = data["epochs"], data["steps"]
    if isinstance(epochs, tuple):
        if len(epochs) != stages:
            raise ConfigError(
                f"epochs {epochs} has {len(epochs)} values, and the run has {stages} stages; give one number, or one of each stage"
            )
        epochs = epochs[0] if len(set(epochs)) == 1 else epochs
    if steps is not None and stages != 1:
        raise ConfigError(f"steps {steps} is for a run of one stage, and this run has {stages}; give epochs instead")
    if isinstance(steps, int):
        epochs = 1.0  # without an effect
    elif steps is not None and set(steps) == set(data["auxiliaries"]):
        steps = None  # what the run has anyway
    return {"epochs": epochs, "steps": steps}


def matched_auxiliaries(steps: int | tuple[AuxiliaryName, ...] | None) -> tuple[AuxiliaryName, ...]:
    """The auxiliaries of the run whose number of steps is matched."""
    return steps if isinstance(steps, tuple) else ()


def stage_epochs(config: ThinkerConfig, position: int) -> float:
    """Epochs of one stage of a run in canonical form."""
    return config.epochs[position] if isinstance(config.epochs, tuple) else config.epochs


def stage_kinds(config: ThinkerConfig) -> tuple[tuple[Kind, ...], ...]:
    """Instruction types of each stage of a run that trains, in their order."""
    names: dict[Role, tuple[Kind, ...]] = {
        "main": (config.task,),
        "auxiliary": tuple(auxiliary.kind for name, auxiliary in AUXILIARIES.items() if name in config.auxiliaries),
    }
    named = SCHEDULES if config.auxiliaries else MAIN_SCHEDULES
    roles = named.get(config.schedule or "", (("main",),))
    return tuple(tuple(kind for role in stage for kind in names[role]) for stage in roles)


def _relative(mixture: dict[Kind, float], stages: Sequence[Sequence[Kind]]) -> dict[Kind, float] | None:
    """Weights with the largest of every group at 1, because only ratios within a stage have an effect; None if no stage mixes.

    A group is a set of kinds that share stages, directly or through each other; `stages` are the kinds of each stage.
    """
    groups: list[set[Kind]] = []
    for kinds in stages:
        together = set(kinds).union(*(group for group in groups if group & set(kinds)))
        groups = [group for group in groups if not group & together] + [together]
    if all(len(group) == 1 for group in groups):
        return None
    return {kind: weight / max(mixture[other] for other in group) for group in groups for kind, weight in mixture.items() if kind in group}


def content_hash(value: Any) -> str:
    """16 hex digits of the SHA-256 of canonical JSON; `value` holds plain data only."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changed(config: C, delta: dict[str, Any]) -> C:
    """`config` with nested fields replaced: {'lora.rank': 4} and {'lora': {'rank': 4}} mean the same.

    Raises ConfigError with every fault at once; an unknown field names the near one.
    """
    data = config.model_dump()
    faults: list[str] = []
    for name, value in flat(delta).items():
        *parents, leaf = name.split(".")
        place: Any = data
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or leaf not in place:
            faults.append(f"unknown field {name!r}; {near(name, flat(config.model_dump()))}")
        else:
            place[leaf] = value
    if faults:
        raise ConfigError(joined(faults))
    return parse(type(config), data, "config")


def parse(model: type[M], data: Any, what: str) -> M:
    """`data` as a `model`; every fault at once, in one ConfigError that starts with `what`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{what}: " + joined(_fault_text(fault, model) for fault in error.errors())) from None


def _fault_text(fault: ErrorDetails, model: type[BaseModel]) -> str:
    name = ".".join(str(part) for part in fault["loc"] if part not in (ONE, SEVERAL))
    if fault["type"] == "extra_forbidden":
        return f"unknown field {name!r}; {near(name, _names(model))}"
    return f"{name or 'as a whole'}: {fault['msg'].removeprefix('Value error, ')}"


def _names(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        part = field.annotation
        yield from (f"{name}.{leaf}" for leaf in _names(part)) if isinstance(part, type) and issubclass(part, BaseModel) else [name]


def flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names; a mixture is one value."""
    named: dict[str, Any] = {}
    for name, value in data.items():
        named.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) and name != "mixture" else {prefix + name: value})
    return named
