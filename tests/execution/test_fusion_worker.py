"""Units of fusion in a worker, without Ray: features go on where they stopped, a run is recorded with its probabilities, and only train is fitted to."""

from __future__ import annotations

import json
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import small_encoders
from making import clip

from omnimer_ray.config import ThinkerConfig, changed
from omnimer_ray.corpora.clips import LABELS, Clip, Corpus
from omnimer_ray.corpora.select import seen_modalities
from omnimer_ray.errors import MachineError
from omnimer_ray.execution.feature_worker import FeatureWorker
from omnimer_ray.execution.fusion_worker import OPTIMISTIC, FusionWorker
from omnimer_ray.execution.handout import Job, write_manifest
from omnimer_ray.execution.tune_trial import _job_of
from omnimer_ray.feature_config import CharNgrams, Checkpoint, Feature, Files, Prosody
from omnimer_ray.features.given import check_contents, check_names
from omnimer_ray.features.locating import Located, resolved
from omnimer_ray.features.release import import_release
from omnimer_ray.features.store import FeatureStore
from omnimer_ray.fusion_config import FusionConfig, Linear, Mmef, SvmEnsemble, Tfn, late_fusion, on_features
from omnimer_ray.machine.profile import MachineProfile
from omnimer_ray.metrics import scores
from omnimer_ray.model.bases import locate
from omnimer_ray.planning import fusion_items
from omnimer_ray.planning.plan import make_run
from omnimer_ray.planning.units import FeatureUnit, RunUnit, StageUnit, Unit
from omnimer_ray.records import predictions_schema, read_record
from omnimer_ray.training.loop import init_single_process_group

PROFILE = MachineProfile(docs="a test", micro_batch=8, evaluation_batch=3, checkpoint_every=2)


def job(folder: Path, cache: Path, clips: list[Clip]) -> Job:
    made = Job(folder / "results", folder / "ledgers", cache, locate("tiny"), PROFILE, "1")
    write_manifest(made.work / "manifest.json", clips)
    return made


def work(made: Job, unit: Unit) -> dict[str, Any]:
    init_single_process_group()
    kind = FeatureWorker if isinstance(unit, FeatureUnit) else FusionWorker
    return kind(made, unit, 0, 1, (), time.time()).execute()


@pytest.fixture
def features(recipe: ThinkerConfig) -> dict[str, Feature]:
    """Of the words, the sound and the pictures."""
    return {
        "text": Feature(encoder=CharNgrams(size=64), view="text"),
        "audio": Feature(encoder=Prosody(), view="audio", media=recipe.media),
        "video": on_features(recipe, Linear()).features["video"],
    }


def tfn(recipe: ThinkerConfig, features: Any, **changes: Any) -> FusionConfig:
    small = Tfn(text_hidden=4, text_out=4, audio_hidden=4, video_hidden=4)
    return changed(on_features(recipe, small, features, epochs=3.0, global_batch=8), changes)


def test_a_run_on_features_is_recorded_with_a_probability_of_every_label(
    recipe: ThinkerConfig, features: Any, corpus: Corpus, tmp_path: Path, shared_cache: Path
) -> None:
    made = job(tmp_path, shared_cache, list(corpus.clips))
    config = tfn(recipe, features)
    for feature in features.values():
        assert work(made, FeatureUnit(feature, config, "")) == {"outcome": "done"}
    hidden = changed(config, {"observed.missing_rate": 0.5})
    for one in (config, changed(on_features(recipe, Linear(), features), {"task": "emotion"}), hidden):
        assert work(made, RunUnit(make_run(one), "")) == {"outcome": "done"}
        run = make_run(one)
        rows = pl.read_parquet(made.folder / "runs" / run.signature / "predictions.parquet")
        assert rows.schema == pl.Schema(predictions_schema())
        assert rows["clip"].to_list() == [each.id for each in corpus.clips if each.split == "validation" and each.label(one.task)]
        assert all(sum(row) == pytest.approx(1) for row in rows["probabilities"])
        assert rows["answer"].is_null().all()
        record, stage = (read_record(made.folder / path) for path in (f"runs/{run.signature}", f"stages/{run.stages[0].key}"))
        assert record is not None
        assert stage is not None
        assert (record["method"], record["seed"], record["checks"]) == ("fusion", 0, {})
        assert stage["features"] == [one.features[name].key for name in ("audio", "text", "video")]  # type: ignore[index]
        assert record["main_items"] == (16 if one.task == "emotion" else 48)
    assert len(list((made.folder / "stages").iterdir())) == 2, "the evaluation with hidden modalities trains nothing"
    assert not list(made.folder.glob("stages/*/checkpoints"))


def test_late_fusion_is_the_mean_of_the_members_that_see_something(
    recipe: ThinkerConfig, features: Any, corpus: Corpus, tmp_path: Path, shared_cache: Path
) -> None:
    made = job(tmp_path, shared_cache, list(corpus.clips))
    alone = {name: on_features(recipe, Linear(), {name: features[name]}) for name in ("text", "audio")}
    found: dict[str, list[list[float]]] = {}
    hidden = {"observed.missing_rate": 0.6}
    both = late_fusion(**alone)
    for name in alone:
        work(made, FeatureUnit(features[name], alone[name], ""))
    for name, config in {**alone, "both": both, "hidden": changed(both, hidden)}.items():
        run = make_run(config)
        for stage in run.stages[:-1]:
            work(made, StageUnit(stage, ""))
        assert work(made, RunUnit(run, "")) == {"outcome": "done"}
        found[name] = pl.read_parquet(made.folder / "runs" / run.signature / "predictions.parquet")["probabilities"].to_list()
    assert np.allclose(found["both"], (np.array(found["text"]) + np.array(found["audio"])) / 2)
    assert len(list((made.folder / "stages").iterdir())) == 2
    clips = [one for one in corpus.clips if one.split == "validation"]
    for place, one in enumerate(clips):
        seen = seen_modalities(one, ("audio", "text"), changed(both, hidden).observed)
        assert np.allclose(found["hidden"][place], np.mean([found[name][place] for name in seen], axis=0))
    assert not np.allclose(found["hidden"], found["both"])


def test_a_feature_goes_on_with_the_clips_that_are_missing(
    recipe: ThinkerConfig, features: Any, corpus: Corpus, tmp_path: Path, shared_cache: Path
) -> None:
    made = job(tmp_path, shared_cache, list(corpus.clips))
    unit = FeatureUnit(features["audio"], tfn(recipe, features), "")
    made.stop_file.touch()
    assert work(made, unit) == {"outcome": "stopped"}
    store = FeatureStore(made.feature_store, features["audio"], shared_cache)
    assert len(store.missing(corpus.clips)) == len(corpus.clips) - 1
    (first,) = (path for path in store.folder.glob("*.safetensors"))
    stamp = first.stat().st_mtime_ns
    made.stop_file.unlink()
    assert work(made, unit) == {"outcome": "done"}
    assert first.stat().st_mtime_ns == stamp


def test_a_stage_that_is_stopped_goes_on_to_the_same_artifact(
    recipe: ThinkerConfig, features: Any, corpus: Corpus, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tfn(recipe, features)
    (stage,) = make_run(config).stages
    made = job(tmp_path, shared_cache, list(corpus.clips))
    other = Job(tmp_path / "straight", made.ledgers, shared_cache, made.base, PROFILE, "1")
    write_manifest(other.work / "manifest.json", corpus.clips)
    for feature in features.values():
        work(made, FeatureUnit(feature, config, ""))
    for stop in (1, 3, 4):
        with monkeypatch.context() as patch:
            patch.setattr(FusionWorker, "should_stop", lambda self, step, stop=stop: step == stop)
            assert work(made, StageUnit(stage, "")) == {"outcome": "stopped"}
    assert work(made, StageUnit(stage, "")) == work(other, StageUnit(stage, "")) == {"outcome": "done"}
    assert artifact(made, stage.key) == artifact(other, stage.key)


def test_a_probe_that_was_killed_before_its_record_is_fitted_again_the_same(
    recipe: ThinkerConfig, features: Any, corpus: Corpus, tmp_path: Path, shared_cache: Path
) -> None:
    made, config = job(tmp_path, shared_cache, list(corpus.clips)), on_features(recipe, Linear(), {"text": features["text"]})
    work(made, FeatureUnit(features["text"], config, ""))
    (stage,) = make_run(config).stages
    assert work(made, StageUnit(stage, "")) == {"outcome": "done"}
    before = artifact(made, stage.key)
    (made.folder / "stages" / stage.key / "record.json").unlink()
    assert work(made, StageUnit(stage, "")) == {"outcome": "done"}
    assert artifact(made, stage.key) == before


def artifact(made: Job, stage: str) -> bytes:
    return (made.folder / "stages" / stage / "network.safetensors").read_bytes()


def test_a_pretrained_encoder_is_found_again_by_the_worker(
    recipe: ThinkerConfig, corpus: Corpus, tmp_path: Path, shared_cache: Path
) -> None:
    folder, known = small_encoders.write("bert", tmp_path / "bert"), dict[str, Located]()
    one = Feature(encoder=Checkpoint(model=str(folder), layers=(1, 2)), view="text")
    config = resolved(on_features(recipe, Linear(), {"text": one}), known)
    assert isinstance(config, FusionConfig)
    made = replace(job(tmp_path, shared_cache, list(corpus.clips)), encoders=known)
    assert work(made, FeatureUnit(config.features["text"], config, "")) == {"outcome": "done"}
    assert work(made, RunUnit(make_run(config), "")) == {"outcome": "done"}
    (folder / "vocab.txt").write_text("other\n")
    (made.feature_store / config.features["text"].key / "feature.json").unlink()
    for entry in made.feature_store.glob("*/*.safetensors"):
        entry.unlink()
    with pytest.raises(MachineError, match="the plan was made for"):
        work(made, FeatureUnit(config.features["text"], config, ""))


@pytest.mark.parametrize("choose", ["development", "held_out"])
def test_an_epoch_is_chosen_on_development_or_openly_on_the_reported_part(
    choose: str, recipe: ThinkerConfig, features: Any, corpus: Corpus, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion_items, "DEVELOPMENT_PARTS", 4)  # there are four videos
    config = tfn(recipe, features, epochs=6.0, choose=choose, patience=2, global_batch=4)
    run = make_run(config)
    made = job(tmp_path, shared_cache, list(corpus.clips))
    for feature in features.values():
        work(made, FeatureUnit(feature, config, ""))
    with monkeypatch.context() as patch:
        patch.setattr(FusionWorker, "should_stop", lambda self, step: step == 5)
        assert work(made, RunUnit(run, "")) == {"outcome": "stopped"}
    assert work(made, RunUnit(run, "")) == {"outcome": "done"}
    stage, record = (read_record(made.folder / path) for path in (f"stages/{run.stages[0].key}", f"runs/{run.signature}"))
    assert stage is not None
    assert record is not None
    best = json.loads((made.folder / "stages" / run.stages[0].key / "best.json").read_text())
    assert f"of epoch {best['epoch']}" in stage["matched"]
    assert stage["num_items"]["sentiment"] == (16 if choose == "held_out" else 12)  # one of four videos is development
    assert record["validation_opened"] == (OPTIMISTIC if choose == "held_out" else "once, to report")
    if choose == "held_out":
        rows = pl.read_parquet(made.folder / "runs" / run.signature / "predictions.parquet")
        found = scores(gold=rows["gold"].to_list(), predicted=rows["prediction"].to_list(), labels=LABELS["sentiment"]).macro_f1
        assert found == pytest.approx(best["score"])
    other = Job(tmp_path / "straight", made.ledgers, shared_cache, made.base, PROFILE, "1")
    write_manifest(other.work / "manifest.json", corpus.clips)
    assert work(other, RunUnit(run, "")) == {"outcome": "done"}
    assert artifact(made, run.stages[0].key) == artifact(other, run.stages[0].key)


def test_mmef_is_a_network_and_an_ensemble_on_its_fused_features(
    recipe: ThinkerConfig, features: Any, corpus: Corpus, tmp_path: Path, shared_cache: Path
) -> None:
    made = job(tmp_path, shared_cache, list(corpus.clips))
    alone = on_features(recipe, Mmef(width=8), features, epochs=3.0, global_batch=8, refine_labels=True)
    both = alone.model_copy(update={"ensemble": SvmEnsemble()})
    for feature in features.values():
        work(made, FeatureUnit(feature, alone, ""))
    one, two = make_run(alone), make_run(both)
    assert two.stages[0].key == one.stages[0].key
    assert work(made, RunUnit(one, "")) == work(made, RunUnit(two, "")) == {"outcome": "done"}
    records = [read_record(made.folder / "runs" / run.signature) for run in (one, two)]
    for record in records:
        assert record is not None
        assert sum(record["saliency"].values()) == pytest.approx(1)
        assert record["saliency"].keys() == {"audio", "text", "video"}
    shares = pl.read_parquet(made.folder / "runs" / two.signature / "predictions.parquet")["probabilities"].explode() * 9
    assert np.allclose(shares, np.round(shares))
    labels = json.loads((made.folder / "stages" / one.stages[0].key / "labels.json").read_text())
    assert [entry["clip"] for entry in labels] == [each.id for each in corpus.clips if each.split == "train"]
    golds = pl.read_parquet(made.folder / "runs" / one.signature / "predictions.parquet")
    expected = [each.sentiment for each in corpus.clips if each.split == "validation"]
    assert golds["gold"].to_list() == expected, "gold labels of evaluation are never refined"


def test_networks_run_on_features_that_were_imported(recipe: ThinkerConfig, corpus: Corpus, tmp_path: Path, shared_cache: Path) -> None:
    """From pickles in the release's layout, with its widths; the arrays are noise."""
    draw, known = np.random.default_rng(0), dict[str, Located]()
    views: dict[str, Any] = {"text": ("text", 768), "audio": ("audio", 18), "video": ("frames", 673)}
    for modality, (_, width) in views.items():
        data = [
            {"sample_id": one.id, "feature": draw.normal(size=(3 + place % 4, width)).astype(np.float32)}
            for place, one in enumerate(corpus.clips)
        ]
        (tmp_path / f"{modality}.pkl").write_bytes(pickle.dumps(data))
        import_release(tmp_path / f"{modality}.pkl", tmp_path / modality)
    features: Any = {name: Feature(encoder=Files(folder=str(tmp_path / name)), view=view) for name, (view, _) in views.items()}
    config = resolved(tfn(recipe, features), known)
    assert isinstance(config, FusionConfig)
    made = replace(job(tmp_path, shared_cache, list(corpus.clips)), encoders=known)
    for feature in config.features.values():
        check_names(feature, corpus.clips)
        check_contents(feature, corpus.clips)
        assert work(made, FeatureUnit(feature, config, "")) == {"outcome": "done"}
    run = make_run(config)
    assert work(made, RunUnit(run, "")) == {"outcome": "done"}
    assert (made.folder / "runs" / run.signature / "predictions.parquet").exists()


def test_a_feature_that_is_gone_names_its_file(
    recipe: ThinkerConfig, features: Any, corpus: Corpus, tmp_path: Path, shared_cache: Path
) -> None:
    made = job(tmp_path, shared_cache, list(corpus.clips))
    with pytest.raises(MachineError, match=r"is absent or damaged; the same command makes it again"):
        work(made, RunUnit(make_run(on_features(recipe, Linear(), {"text": features["text"]})), ""))


def test_a_network_has_one_worker_and_a_feature_all(recipe: ThinkerConfig, features: Any, tmp_path: Path, shared_cache: Path) -> None:
    made = job(tmp_path, shared_cache, [clip("a_0")])
    config = tfn(recipe, features)
    for unit, workers in (
        (RunUnit(make_run(config), ""), 1),
        (FeatureUnit(features["text"], config, ""), 4),
        (RunUnit(make_run(recipe), ""), 4),
    ):
        many = Job(made.folder, made.ledgers, made.cache, made.base, PROFILE.model_copy(update={"workers_per_run": 4}), "1")
        assert _job_of(many, unit, []).profile.workers_per_run == workers
