"""Machine profiles fit their machines, files for Ray and Kubernetes are valid, and documented commands can be parsed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from making import paper_config
from typer.main import get_command

from omnimer_ray.doctor.__main__ import app as doctor_app
from omnimer_ray.errors import MachineError
from omnimer_ray.machine.memory import estimate, longest_item, refusal, setup_of
from omnimer_ray.machine.profile import PROFILES, Resources, concurrency, load_profile
from omnimer_ray.model.dimensions import Shape
from omnimer_ray.sweep import app as sweep_app
from omnimer_ray.training.schedule import Item, micro_batches

ROOT = PROFILES.parent
QWEN_7B = Shape(vision_width=1280)
MACHINES = {  # profile -> resources of its machine, and number of concurrent runs
    "laptop": (Resources(2, 0), 2),
    "laptop_two_workers": (Resources(2, 0), 1),
    "gpu": (Resources(16, 1), 1),
    "rtx3090": (Resources(16, 2), 1),
    "rtx3090_x4": (Resources(16, 4), 4),
    "rtx3090_boxes": (Resources(48, 6), 6),
}
OTHER_FILES = {"onprem", "rayjob", "runtime_env"}


def read(name: str) -> Any:
    return yaml.safe_load((PROFILES / name).read_text(encoding="utf-8"))


def options(app: typer.Typer, command: str) -> dict[str, Any]:
    """Parse a command's options; click raises an error for an unknown option."""
    module, *words = shlex.split(command)[2:]
    assert shlex.split(command)[:2] == ["python", "-m"]
    assert module in ("omnimer_ray.sweep", "omnimer_ray.doctor")
    return get_command(app).make_context(module, words).params


def test_every_file_is_a_profile_or_one_of_the_other_known_files() -> None:
    assert {path.stem for path in PROFILES.glob("*.yaml")} == set(MACHINES) | OTHER_FILES


def test_the_list_of_known_profiles_in_an_error_has_no_other_file() -> None:
    with pytest.raises(MachineError) as raised:
        load_profile("zzz")
    known = ", ".join(repr(name) for name in sorted(MACHINES))
    assert str(raised.value) == f"machine profile 'zzz': no file {PROFILES / 'zzz.yaml'}; known: {known}"


@pytest.mark.parametrize("name", MACHINES)
def test_the_number_of_concurrent_runs_of_a_profile_on_its_machine(name: str) -> None:
    profile, (offered, runs) = load_profile(name), MACHINES[name]
    assert concurrency(profile, offered) == runs
    block = tuple(Item(str(index), "sentiment", "") for index in range(paper_config().block))
    assert list(micro_batches(block, profile.micro_batch, 0, max(1, profile.workers_per_run)))


@pytest.mark.parametrize("name", [name for name, (offered, _) in MACHINES.items() if offered.gpus])
def test_items_of_thirty_seconds_fit_24_gib_in_training_and_decoding(name: str) -> None:
    config = paper_config(base__precision="bf16")
    setup = setup_of(load_profile(name), config)
    assert refusal(24.0, QWEN_7B, setup, longest_item(config)) is None
    assert estimate(QWEN_7B, setup, longest_item(config)).evaluation_gib < 24


def test_the_cluster_file_is_valid_for_rays_launcher() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    ray = pytest.importorskip("ray")
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = read("onprem.yaml")
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    prepared = prepare_config(config)
    validate_config(prepared)
    workers = config["provider"]["worker_ips"]
    assert prepared["available_node_types"]["local.cluster.node"]["min_workers"] == config["max_workers"] == len(workers)
    starts = [command for key in ("head", "worker") for command in config[f"{key}_start_ray_commands"] if "ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token ray start" in command for command in starts)


@pytest.mark.parametrize("name", ["onprem.yaml", "rayjob.yaml"])
def test_every_placeholder_is_marked_with_change(name: str) -> None:
    for line in (PROFILES / name).read_text().splitlines():
        if re.search(r"HEAD_HOST|BOX_|YOUR_|/PATH/|REGISTRY", line.split("#")[0]):
            assert "CHANGE" in line.partition("#")[2], line


def test_the_kubernetes_job_runs_a_valid_command_on_enough_resources() -> None:
    job = read("rayjob.yaml")
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert cluster["authOptions"] == {"mode": "token"}
    given = options(sweep_app, spec["entrypoint"])
    assert given["name"] == "ablations"
    assert given["results"].is_absolute()
    assert (PROFILES / Path(given["machine"]).name).is_file()
    templates = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for template in templates:
        (container,) = template["template"]["spec"]["containers"]
        volumes = {volume["name"] for volume in template["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert any(str(given["results"]).startswith(mount["mountPath"]) for mount in container["volumeMounts"])
    workers = cluster["workerGroupSpecs"]
    limits = [group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in workers]
    offered = Resources(
        sum(group["replicas"] * int(limit["cpu"]) for group, limit in zip(workers, limits, strict=True)),
        sum(group["replicas"] * int(limit["nvidia.com/gpu"]) for group, limit in zip(workers, limits, strict=True)),
    )
    assert concurrency(load_profile(Path(given["machine"]).stem), offered) == 4


def test_the_runtime_environments_are_valid_for_ray() -> None:
    runtime_env = pytest.importorskip("ray.runtime_env")
    for given in (read("runtime_env.yaml"), yaml.safe_load(read("rayjob.yaml")["spec"]["runtimeEnvYAML"])):
        given.pop("working_dir", None)  # uploaded by the client, before this check
        assert runtime_env.RuntimeEnv(**given)["env_vars"] == {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "600"}


def test_an_upload_contains_the_code_and_no_data(tmp_path: Path) -> None:
    packaging = pytest.importorskip("ray._private.runtime_env.packaging")
    excludes = packaging.get_excludes_from_ignore_files(ROOT, include_gitignore=True)

    def is_uploaded(path: str) -> bool:
        return not any(exclude(ROOT / path) for exclude in excludes)

    assert all(
        map(
            is_uploaded,
            ("omnimer_ray/sweep.py", "search_spaces/ablations.py", "cluster/rtx3090.yaml", "omnimer_ray/tiny/weights/model.safetensors"),
        )
    )
    data = (
        "results/ablations/record.json",
        "shared/clip.mp4",
        "mine/a.wav",
        ".venv/bin/python",
        ".cache/x",
        "a/b.parquet",
        "docs/a.png",
        ".git/objects/pack/a.pack",
    )
    assert not any(map(is_uploaded, data))


def test_an_upload_is_small() -> None:
    """The tiny base is its only large part."""
    packaging = pytest.importorskip("ray._private.runtime_env.packaging")
    excludes = packaging.get_excludes_from_ignore_files(ROOT, include_gitignore=True)

    def size(folder: Path) -> int:
        kept = [path for path in folder.iterdir() if not any(exclude(path) for exclude in excludes)]
        return sum(size(path) if path.is_dir() and not path.is_symlink() else path.lstat().st_size for path in kept)

    assert size(ROOT) < 12 * 2**20


def documented_commands() -> list[str]:
    text = (PROFILES / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(r"python -m omnimer_ray\.(?:sweep|doctor) [^\n`]+", text)


@pytest.mark.parametrize("command", documented_commands())
def test_a_documented_command_can_be_parsed(command: str) -> None:
    given = options(doctor_app if "doctor" in command else sweep_app, command)
    assert load_profile(given["machine"])
    assert given["results"].is_absolute()


def test_the_documentation_lists_every_profile() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", (PROFILES / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(table) == set(MACHINES)
