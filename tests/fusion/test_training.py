"""A fusion network is trained by the one loop: fitted on train alone, bit-equal after stops with dropout, the same from its artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from making import clip, tiny_config

from omnimer_ray.config import Modality, changed
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import ResultsError
from omnimer_ray.feature_config import CharNgrams, Feature, Prosody
from omnimer_ray.features.store import FeatureStore
from omnimer_ray.fusion import network
from omnimer_ray.fusion.reader import Reader
from omnimer_ray.fusion_config import FusionConfig, Mfn, Misa, Mult, Network, Tfn, on_features
from omnimer_ray.planning.fusion_items import fusion_schedule, labelled
from omnimer_ray.training import checkpoints
from omnimer_ray.training.loop import init_single_process_group, seed_of_step, start_engine, stop_engine, train
from omnimer_ray.training.placement import Placement

SENTIMENTS = ["negative", "neutral", "positive"]
CLIPS = [
    clip(f"v{number // 3}_{number}", "train" if number < 18 else "validation", sentiment=SENTIMENTS[number % 3], text=f"kata {number}")
    for number in range(24)
]
WIDTHS: dict[Modality, int] = {"text": 6, "audio": 3, "video": 4}


class Given(FeatureStore):
    """A store whose entries go by the clip's name: these clips have no files."""

    def content(self, clip: Clip) -> str:
        return clip.id


def config(net: Network, **changes: Any) -> FusionConfig:
    return changed(on_features(tiny_config(), net, epochs=4.0, global_batch=6), changes)


def stores(folder: Path, shift: float = 0.0) -> dict[Modality, FeatureStore]:
    """Features in which the label is to be seen; those of validation are moved by `shift`."""
    media = tiny_config().media
    features: dict[Modality, Feature] = {
        "text": Feature(encoder=CharNgrams(size=8), view="text"),
        "audio": Feature(encoder=Prosody(), view="audio", media=media),
        "video": Feature(encoder=Prosody(), view="audio", media=media.model_copy(update={"max_sec": 3.0})),
    }
    found: dict[Modality, FeatureStore] = {}
    for modality, feature in features.items():
        found[modality] = Given(folder / modality, feature, folder)

        def make(one: Clip, modality: Modality = modality) -> np.ndarray[Any, np.dtype[np.float32]]:
            draw = np.random.default_rng(int(one.id.split("_")[1]))
            steps = draw.normal(size=(3 + int(draw.integers(5)), WIDTHS[modality])) + SENTIMENTS.index(str(one.sentiment))
            return (steps + shift * (one.split == "validation")).astype(np.float32)

        found[modality].fill(CLIPS, make, lambda done, total: None)
    return found


def trained(settings: FusionConfig, reader: Reader, folder: Path, stop_after: int | None = None) -> tuple[bool, dict[str, torch.Tensor]]:
    """Train a stage, going on from the checkpoints in `folder`; stop it after `stop_after` steps in this process."""
    init_single_process_group()
    schedule, placement = fusion_schedule(settings, CLIPS), Placement(settings.global_batch, checkpoint_every=5)
    reader.fit(labelled(settings, CLIPS))
    engine = start_engine(network.LabelLoss(network.build(settings, reader.widths)), settings.optimizer, schedule, placement)
    feed = network.FeatureFeed(reader, {one.id: one for one in CLIPS}, settings, "cpu")
    steps = 0

    def should_stop(step: int) -> bool:
        nonlocal steps
        steps += 1
        return steps == stop_after

    folder.mkdir(parents=True, exist_ok=True)
    finished = train(engine, feed, schedule, settings.optimizer, "items", placement, folder, "stage", lambda step: None, should_stop)
    parameters = checkpoints.parameters(engine)
    stop_engine(engine)
    return finished, parameters


@pytest.mark.parametrize(
    "net",
    [
        Tfn(text_hidden=8, text_out=8, audio_hidden=4, video_hidden=4),
        Mfn(),
        Mult(width=10, heads=2),
        Misa(width=8, recurrent=4, dropout=0.2),
    ],
)
def test_a_stage_that_is_stopped_six_times_ends_as_one_that_is_not(net: Network, tmp_path: Path) -> None:
    """With dropout, and with modalities hidden at random."""
    settings = config(net, hide_rate=0.3)
    reader = Reader(stores(tmp_path), 4)
    done, straight = trained(settings, reader, tmp_path / "straight")
    assert done
    assert fusion_schedule(settings, CLIPS).num_steps == 12
    for stop in (1, 2, 1, 3, 1, 2):
        finished, _ = trained(settings, reader, tmp_path / "stopped", stop)
        assert not finished
    finished, parts = trained(settings, reader, tmp_path / "stopped")
    assert finished
    assert all(torch.equal(straight[name], parts[name]) for name in straight)
    before = network.build(settings, reader.widths).state_dict()
    assert any(not torch.equal(straight[name], before[name]) for name in straight)
    assert len({seed_of_step("stage", step, rank) for step in range(4) for rank in range(2)}) == 8


def test_nothing_that_is_fitted_sees_the_validation_clips(tmp_path: Path) -> None:
    settings = config(Tfn(text_hidden=8, text_out=8, audio_hidden=4, video_hidden=4))
    one, other = (Reader(stores(tmp_path / str(shift), shift), 4) for shift in (0.0, 9.0))
    (_, first), (_, second) = (trained(settings, reader, tmp_path / str(place)) for place, reader in enumerate((one, other)))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(a, b) for name in one.standards for a, b in zip(one.standards[name], other.standards[name], strict=True))


def test_a_network_from_its_artifact_answers_as_it_did(tmp_path: Path) -> None:
    settings, kept = config(Mult(width=10, heads=2)), stores(tmp_path)
    reader = Reader(kept, 4)
    _, parameters = trained(settings, reader, tmp_path / "stage")
    model = network.build(settings, reader.widths)
    model.load_state_dict(parameters)
    shown = [list(settings.modalities)] * len(CLIPS)
    expected = network.probabilities(model, reader, CLIPS, shown, 5, "cpu")
    network.save(parameters, reader, tmp_path / "stage")
    fresh = Reader(kept, 4)
    found = network.probabilities(network.load(settings, fresh, tmp_path / "stage"), fresh, CLIPS, shown, 24, "cpu")
    assert np.allclose(found, expected, atol=1e-6)
    assert np.allclose(np.sum(found, 1), 1)
    right = sum(
        SENTIMENTS[row.index(max(row))] == one.sentiment for row, one in zip(found, CLIPS, strict=True) if one.split == "validation"
    )
    assert right >= 4  # of 6, a third of them by chance
    with pytest.raises(
        ResultsError,
        match=r"network.safetensors does not fit the run's mfn: attention.0.bias; remove .*, and the same command makes it again",
    ):
        network.load(config(Mfn()), Reader(kept, 4), tmp_path / "stage")
    network.write_artifact({"network.x": torch.zeros(1)}, tmp_path / "stage")
    with pytest.raises(ResultsError, match=r"does not fit the run's mult: mean.audio"):
        network.load(settings, Reader(kept, 4), tmp_path / "stage")


def test_initial_values_depend_on_the_seed_alone() -> None:
    one, again, other = (network.build(config(Mfn(), seed=seed), WIDTHS).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_linear_probe_has_no_steps() -> None:
    from omnimer_ray.fusion_config import Linear

    with pytest.raises(AssertionError, match="linear is not trained by steps"):
        network.build(on_features(tiny_config(), Linear()), WIDTHS)


def test_features_of_different_widths_are_refused(tmp_path: Path) -> None:
    store = Given(tmp_path, Feature(encoder=CharNgrams(), view="text"), tmp_path)
    store.fill(CLIPS, lambda one: np.ones((2, 3 + (one.id == "v0_1")), np.float32), lambda done, total: None)
    with pytest.raises(
        ResultsError,
        match="holds features of different widths: 3 of clip v5_17, 4 of clip v0_1; delete it, and the same command makes it again",
    ):
        Reader({"text": store}, 4).fit(CLIPS[:18])


def test_a_modality_is_hidden_at_its_rate_and_one_is_kept(tmp_path: Path) -> None:
    reader = Reader(stores(tmp_path), 4)
    reader.fit(CLIPS[:18])
    items = fusion_schedule(config(Tfn()), CLIPS).items["sentiment"]
    feed = network.FeatureFeed(reader, {one.id: one for one in CLIPS}, config(Tfn(), hide_rate=0.5), "cpu")
    torch.manual_seed(0)
    present = torch.cat([torch.cat([part.present for part in feed.batch(items).inputs.values()], 1) for _ in range(40)])  # (720, 3)
    assert present.sum(1).min() == 1
    assert 0.5 < float(present.mean()) < 0.6  # half of each, and an eighth of the clips keeps one more
    whole = network.FeatureFeed(reader, {one.id: one for one in CLIPS}, config(Tfn()), "cpu").batch(items)
    assert all(bool(part.present.all()) for part in whole.inputs.values())
    assert whole.targets.tolist() == [SENTIMENTS.index(item.answer) for item in items]
    assert whole.num_tokens.tolist() == [1] * 18
    assert feed.num_tokens(items[0]) == 1
