"""Machine profiles: numbers of runs that fit, and errors about profiles that do not fit, raised before anything starts."""

import re
from pathlib import Path

import pytest
from making import paper_config

from omnimer_ray.errors import ConfigError, MachineError
from omnimer_ray.machine import cards
from omnimer_ray.machine.profile import PROFILES, MachineProfile, Resources, concurrency, load_profile, local_resources, smaller, usable
from omnimer_ray.training.schedule import Item, micro_batches

NAMES = ["laptop", "laptop_two_workers", "gpu", "rtx3090"]


def profile(**changes: object) -> MachineProfile:
    return MachineProfile.model_validate({"docs": "a test", **changes})


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_loads_and_divides_the_papers_block(name: str) -> None:
    loaded = load_profile(name)
    assert loaded.docs
    assert load_profile(str(PROFILES / f"{name}.yaml")) == loaded
    block = tuple(Item(str(index), "sentiment", "") for index in range(paper_config().block))
    assert list(micro_batches(block, loaded.micro_batch, 0, max(1, loaded.workers_per_run)))


@pytest.mark.parametrize(
    ("changes", "offered", "runs"),
    [
        ({"workers_per_run": 0}, Resources(2, 0), 2),
        ({"workers_per_run": 1}, Resources(2, 0), 2),
        ({"workers_per_run": 2}, Resources(2, 0), 1),
        ({"workers_per_run": 2}, Resources(7, 0), 3),
        ({"workers_per_run": 2, "gpus_per_worker": 1, "cpus_per_worker": 4}, Resources(64, 4), 2),
        ({"workers_per_run": 2, "gpus_per_worker": 1, "cpus_per_worker": 4}, Resources(8, 4), 1),
        ({"gpus_per_worker": 0.5}, Resources(8, 2), 4),
        ({"max_concurrent_runs": 3}, Resources(8, 0), 3),
        ({"max_concurrent_runs": 30}, Resources(8, 0), 8),
    ],
)
def test_number_of_concurrent_runs(changes: dict[str, object], offered: Resources, runs: int) -> None:
    assert concurrency(profile(**changes), offered) == runs


@pytest.mark.parametrize(
    ("changes", "offered", "text"),
    [
        ({"workers_per_run": 4}, Resources(2, 0), "the profile asks for 4 cores a run (4 workers), and there are 2; "),
        (
            {"workers_per_run": 0, "cpus_per_worker": 2.5},
            Resources(2, 0),
            "the profile asks for 2.5 cores a run (1 workers), and there are 2; ",
        ),
        ({"workers_per_run": 2, "gpus_per_worker": 1}, Resources(2, 1), "the profile asks for 2 GPUs a run (2 workers), and there are 1; "),
        ({"gpus_per_worker": 0.5}, Resources(2, 0), "the profile asks for 0.5 GPUs a run (1 workers), and there are 0; "),
    ],
)
def test_a_profile_that_needs_more_than_the_machine_has_is_refused(changes: dict[str, object], offered: Resources, text: str) -> None:
    with pytest.raises(MachineError) as raised:
        concurrency(profile(**changes), offered)
    way_out = "lower workers_per_run, cpus_per_worker or gpus_per_worker, or choose a profile that fits this machine"
    assert str(raised.value) == text + way_out


RTX_3090 = "accelerator_type:GeForce-RTX-3090"


@pytest.mark.parametrize(
    ("changes", "nodes", "runs"),
    [
        ({}, [{"CPU": 1.0}, {"CPU": 1.0}], 2),
        ({"workers_per_run": 2}, [{"CPU": 1.0}, {"CPU": 1.0}], 1),
        ({"cpus_per_worker": 4}, [{"CPU": 7.0}, {"CPU": 5.0}, {"CPU": 3.0}], 2),
        ({"gpus_per_worker": 1, "cpus_per_worker": 4}, [{"CPU": 2.0}, {"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 4.0}], 4),
        (
            {"gpus_per_worker": 1, "accelerator_type": "GeForce-RTX-3090"},
            [{"CPU": 8.0, "GPU": 2.0, RTX_3090: 1.0}, {"CPU": 8.0, "GPU": 8.0}],
            2,
        ),
    ],
)
def test_a_worker_must_fit_on_one_machine_of_a_cluster(changes: dict[str, object], nodes: list[dict[str, float]], runs: int) -> None:
    assert concurrency(profile(**changes), usable(profile(**changes), nodes)) == runs


def test_a_cluster_that_fits_no_worker_is_refused_before_ray_waits_for_one() -> None:
    cards = profile(cpus_per_worker=4, gpus_per_worker=1, accelerator_type="GeForce-RTX-3090")
    with pytest.raises(MachineError) as raised:
        usable(cards, [{"CPU": 16.0, "memory": 7.0}, {"CPU": 8.0, "GPU": 1.0, "accelerator_type:T4": 1.0}, {}])
    assert str(raised.value) == (
        "no machine of the cluster fits a worker of this profile: it needs CPU 4, GPU 1, accelerator_type:GeForce-RTX-3090 0.001, "
        "and the machines have CPU 16; CPU 8, GPU 1, accelerator_type:T4 1; no cores and no cards; choose or write a profile that fits them"
    )


def test_an_unknown_profile_is_refused_with_similar_names() -> None:
    with pytest.raises(MachineError) as raised:
        load_profile("laptob")
    path = PROFILES / "laptob.yaml"
    assert str(raised.value).startswith(f"machine profile 'laptob': no file {path}; did you mean 'laptop'")
    with pytest.raises(MachineError, match=r"machine profile 'no/rtx309\.yaml': no file no/rtx309\.yaml; did you mean 'rtx3090'"):
        load_profile("no/rtx309.yaml")
    with pytest.raises(MachineError, match=r"machine profile 'no/rtx3090\.yaml': no file no/rtx3090\.yaml; did you mean 'rtx3090' or"):
        load_profile("no/rtx3090.yaml")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"docs: [", "is not valid YAML: while parsing a flow node"),
        (b"docs: \xff", "is not valid YAML: 'utf-8' codec can't decode"),
        (b"docs: !!python/object/apply:os.system [true]", "is not valid YAML: could not determine a constructor"),
        (b"[" * 2_000, "is not valid YAML: nested too deeply"),
    ],
    ids=["truncated", "not UTF-8", "code", "nested"],
)
def test_a_file_that_is_not_valid_yaml_is_refused(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(MachineError) as raised:
        load_profile(str(path))
    assert str(raised.value).startswith(f"machine profile {path} {text}")


def test_one_error_lists_all_faults_of_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text("docs: mine\nworker_per_run: 2\nmicro_batch: 0\nzero_stage: 3\n")
    with pytest.raises(ConfigError) as raised:
        load_profile(str(path))
    assert str(raised.value) == (
        f"machine profile {path}: micro_batch: Input should be greater than or equal to 1; "
        "zero_stage: Input should be less than or equal to 2; "
        "unknown field 'worker_per_run'; did you mean 'workers_per_run'?"
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            "gpus_per_worker: 0.5\nworkers_per_run: 2",
            "gpus_per_worker 0.5 cannot be combined with workers_per_run 2, because each worker of a run needs its own card; use 1",
        ),
        (
            "accelerator_type: GeForce-RTX-3090\nworkers_per_run: 0",
            "accelerator_type GeForce-RTX-3090 cannot be combined with workers_per_run 0, because Ray cannot assign a type of card to a trial; use 1",
        ),
        ("gpus_per_worker: 2", "Input should be less than or equal to 1"),
    ],
)
def test_cards_that_workers_could_not_use_are_refused(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(f"docs: mine\nmicro_batch: 1\n{content}\n")
    with pytest.raises(ConfigError, match=re.escape(text)):
        load_profile(str(path))


def test_an_empty_file_is_refused_as_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    with pytest.raises(ConfigError, match=r"empty\.yaml: as a whole: Input should be a valid dictionary"):
        load_profile(str(path))


def test_this_machine_has_at_least_one_core() -> None:
    assert local_resources().cpus >= 1


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, 2), ("0,1", 2), ("1", 1), ("", 0), ("-1", 0), ("1,-1,0", 1), ("0,1,2,3", 2), ("GPU-8932f937", 1), ("NoDevFiles", 0)],
)
def test_cards_hidden_by_cuda_visible_devices_do_not_count(
    visible: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cards are counted by nvidia-smi only, because WSL2 has no /proc/driver/nvidia."""
    write_nvidia_smi(tmp_path, "printf 'NVIDIA GeForce RTX 3090, 24576, 550.54\\n%.0s' 1 2")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local_resources().gpus == expected


def write_nvidia_smi(folder: Path, script: str) -> None:
    """Write an nvidia-smi with the given shell script into a folder."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_a_working_nvidia_smi_there_are_no_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cards, "WSL_FOLDER", str(tmp_path / "lib"))
    assert local_resources().gpus == 0
    write_nvidia_smi(tmp_path, "echo 'GPU is lost'; exit 15")
    assert local_resources().gpus == 0


def test_nvidia_smi_is_found_in_the_driver_folder_of_wsl2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(cards, "WSL_FOLDER", str(tmp_path))
    write_nvidia_smi(tmp_path, "echo 'NVIDIA GeForce RTX 4090, 24564, 560.94'")
    assert local_resources().gpus == 1


@pytest.mark.parametrize(
    ("micro_batch", "evaluation_batch", "expected"), [(8, 16, (4, 8)), (6, 3, (3, 1)), (3, 1, (1, 1)), (5, 2, (1, 1)), (1, 1, (1, 1))]
)
def test_the_smaller_profile_halves_the_batches_and_divides_the_same_blocks(
    micro_batch: int, evaluation_batch: int, expected: tuple[int, int]
) -> None:
    profile = MachineProfile(docs="test", micro_batch=micro_batch, evaluation_batch=evaluation_batch)
    assert (smaller(profile).micro_batch, smaller(profile).evaluation_batch) == expected
    assert smaller(profile).model_copy(update={"micro_batch": micro_batch, "evaluation_batch": evaluation_batch}) == profile
    assert smaller(profile.model_copy(update={"recompute": True})).recompute == "always"
