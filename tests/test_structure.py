"""Imports between the packages go one way, from top to bottom, and what plans or analyses loads neither torch nor ray."""

import ast
import json
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Packages and top-level modules of omnimer_ray, top to bottom. Each imports from lower lines only, a package also from itself.
# CONTRIBUTING.md says what is in each.
LAYERS = """
    sweep explain
    launch predict
    search supervision
    execution outputs
    planning
    doctor tiny inference fusion
    training machine
    features
    model
    media tasks
    corpora
    recipes metrics records
    fusion_config
    feature_config
    config command
    errors markdown
"""
LAYER = {room: number for number, line in enumerate(reversed(LAYERS.strip().splitlines())) for room in line.split()}
TORCH_SIDE = {
    "execution.driver",
    "execution.searcher",
    "model.adapters",
    "model.generation",
    "model.inputs",
    "model.lora",
    "model.scoring",
    "model.thinker",
    "features.pretrained",
    "features.towers",
    "features.vision_outputs",
    "fusion.choice",
    "fusion.ensemble",
    "fusion.linear",
    "fusion.mfn",
    "fusion.misa",
    "fusion.mmef",
    "fusion.mult",
    "fusion.network",
    "fusion.reader",
    "fusion.refinement",
    "fusion.sequences",
    "fusion.tfn",
    "search.runner",
    "search.study",
    "tiny.build",
    "tiny.make",
    "training.checkpoints",
    "training.evaluation",
    "training.feed",
    "training.loop",
}
HEAVY = {"torch", "ray", "transformers", "peft", "deepspeed", "av", "PIL", "torchvision", "optuna", "tensorboardX", "mlflow"}
OF_A_SPACE = {"config", "feature_config", "fusion_config", "recipes", "planning.space", "planning.search_space"}
OF_THE_ANALYSIS = {"errors", "markdown", "config", "metrics", "records", "corpora.clips", "recipes", "tasks.lenient"}


def module_of(path: Path) -> str:
    """omnimer_ray/corpora/clips.py -> corpora.clips; a package by its own name."""
    return ".".join(path.relative_to(ROOT / "omnimer_ray").with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_of(path): path
    for path in sorted((ROOT / "omnimer_ray").rglob("*.py"))
    if path.parent != ROOT / "omnimer_ray" or path.stem != "__init__"
}


def imports_of(path: Path) -> Iterator[str]:
    """The full names that a file imports, anywhere in it; `from x import y` is x.y where that is a module of ours."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("omnimer_ray.") in MODULES else str(node.module)


def ours(path: Path) -> set[str]:
    """The modules of omnimer_ray that a file imports."""
    return {name.removeprefix("omnimer_ray.") for name in imports_of(path) if name.startswith("omnimer_ray.")}


def room_of(module: str) -> str:
    """planning.plan -> planning; sweep -> sweep."""
    return module.split(".")[0]


def test_every_package_has_its_layer() -> None:
    assert {room_of(module) for module in MODULES} == set(LAYER)
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| package or module |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`(?=[,\w` ]*\|)", "\n".join(line.split("|")[1] + "|" for line in table.splitlines()[2:]))) == set(LAYER)


@pytest.mark.parametrize("room", LAYER)
def test_imports_go_from_top_to_bottom(room: str) -> None:
    """A `__main__` is a command and imports what it needs."""
    own = {module: path for module, path in MODULES.items() if room_of(module) == room and not module.endswith("__main__")}
    needs = {module: {name for name in ours(path) if room_of(name) == room} for module, path in own.items()}
    assert set(TopologicalSorter(needs).static_order()) <= {*own, room}  # CycleError names the circle
    upwards = {
        (module, name)
        for module, path in own.items()
        for name in ours(path)
        if room_of(name) != room and LAYER[room_of(name)] >= LAYER[room]
    }
    assert upwards == set()


def test_only_the_launch_of_a_sweep_reaches_into_the_analysis() -> None:
    assert {module for module, path in MODULES.items() if any(name.split(".")[0] == "analysis" for name in imports_of(path))} == {"launch"}
    assert not any(name.split(".")[0] == "search_spaces" for path in MODULES.values() for name in imports_of(path))


@pytest.mark.parametrize(("package", "allowed"), [("search_spaces", OF_A_SPACE), ("analysis", OF_THE_ANALYSIS)])
def test_planning_and_analysis_import_only_the_light_modules(package: str, allowed: set[str]) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert ours(path) <= allowed, path
        assert not {name.split(".")[0] for name in imports_of(path)} & (HEAVY - {"mlflow"}), (
            path
        )  # that one is imported when it is asked for


ANALYSIS = {path.stem: path for path in sorted((ROOT / "analysis").glob("*.py")) if not path.stem.startswith("__")}


def test_the_analysis_imports_in_one_direction_and_at_the_top() -> None:
    """Its modules have an order in which each imports only from those before it, inside functions too; only what is optional or slow waits."""
    needs = {name: {full.removeprefix("analysis.") for full in imports_of(path)} & set(ANALYSIS) for name, path in ANALYSIS.items()}
    assert set(TopologicalSorter(needs).static_order()) == set(ANALYSIS)  # CycleError names the circle
    for name, path in ANALYSIS.items():
        functions = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef))
        late = {alias.name for function in functions for node in ast.walk(function) if isinstance(node, ast.Import) for alias in node.names}
        assert late <= {"matplotlib", "jinja2", "mlflow"}, name


def python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)


def test_light_modules_load_no_heavy_package() -> None:
    packages = [path.stem for path in (ROOT / "analysis").glob("*.py") if not path.stem.startswith("__")]
    light = [f"omnimer_ray.{module}" for module in MODULES if module not in TORCH_SIDE and not module.endswith("__main__")]
    names = [*light, "search_spaces.ablations", "analysis", *(f"analysis.{name}" for name in packages)]
    code = """if True:
        import importlib, json, sys
        heavy, loaded = set(sys.argv[1].split()), {}
        for name in sys.argv[2:]:
            before = set(sys.modules)
            importlib.import_module(name)
            if found := heavy & (set(sys.modules) - before):
                loaded[name] = sorted(found)
        print(json.dumps(loaded))
    """
    ended = python(code, " ".join(HEAVY), *names)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {}


def test_help_loads_next_to_nothing() -> None:
    code = """if True:
        import sys
        from omnimer_ray.sweep import main
        try:
            main()
        except SystemExit as end:
            print(sorted(set(sys.argv.pop().split()) & set(sys.modules)), end.code, file=sys.stderr)
    """
    unwanted = HEAVY | {"polars", "numpy", "pydantic", "sklearn", "matplotlib", "jinja2", "yaml"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = python(code.replace("sys.argv.pop()", repr(" ".join(unwanted))), "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "--dry-run" in ended.stdout
    assert ended.stderr.split("\n")[0] == "[] 0"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5, "seconds of processor time"
