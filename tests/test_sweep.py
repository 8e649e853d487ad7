"""The command as a person types it: help, list, plan, and one clear error for whatever is wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from making import make_command

from omnimer_ray import sweep
from omnimer_ray.command import python_word
from omnimer_ray.execution.lease import Lease

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "ray", "transformers", "peft", "deepspeed", "av")
OPTIONS = (
    "list",
    "dry-run",
    "status",
    "json",
    "corpus",
    "base",
    "machine",
    "results",
    "limit",
    "seeds",
    "folds",
    "media",
    "gold",
    "evaluate-on",
    "exclude",
    "retry",
)
PLAN = "plan     12 trained runs in 13 stages (1 shared), 4 zero-shot evaluations, 3 parts of the supervision ledger"


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "omnimer_ray.sweep", *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})


@pytest.fixture(scope="session")
def dry_run(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple["subprocess.CompletedProcess[str]", Path]:
    """One dry run with all that it loaded on the last line of its errors, and where its results would go."""
    results = tmp_path_factory.mktemp("dry") / "results"
    code = f"""if True:
        import sys
        from omnimer_ray.sweep import main
        try:
            main()
        finally:
            print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
    """
    words = ["ablations", "--dry-run", "--results", str(results)]
    return subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True), results


def test_help_names_every_option() -> None:
    ended = command("--help")
    assert ended.returncode == 0
    assert [option for option in OPTIONS if f"--{option}" not in ended.stdout] == []
    assert "Exit codes: 0 done, 2 usage, 3 bad data, 4 failed runs or a stop by the disk or by Ray, 130 interrupted." in " ".join(
        ended.stdout.split()
    )


def test_the_list_has_every_question() -> None:
    ended = command("--list")
    assert ended.returncode == 0
    lines = ended.stdout.splitlines()[1:]
    assert "  ablations             Which auxiliary tasks help, and in which order? (OmniMER, Tables III to VI)" in lines
    assert len({line.index(line[2:].split("  ")[-1].strip()) for line in lines}) == 1, "the questions stand in one column"


def test_a_dry_run_prints_the_plan_and_starts_nothing(dry_run: tuple["subprocess.CompletedProcess[str]", Path]) -> None:
    ended, results = dry_run
    lines = ended.stdout.splitlines()
    assert ended.returncode == 0, ended.stderr
    assert lines[0] == "ablations: Which auxiliary tasks help, and in which order? (OmniMER, Tables III to VI)"
    assert PLAN in lines
    assert any(line.startswith("         0 units recorded, 0 to resume, 20 new; ") for line in lines)
    assert lines[-3].startswith("memory   a worker needs ")
    assert lines[-2].startswith("vision   the frozen tower sees each of 256 clips once; its outputs, ")
    assert lines[-1] == "time     no measured rates yet: no run of this corpus and base is finished on this profile"
    assert any(line.startswith("         STAND-IN: generated faces") for line in lines)
    assert not results.exists()


def test_planning_loads_neither_torch_nor_ray(dry_run: tuple["subprocess.CompletedProcess[str]", Path]) -> None:
    assert dry_run[0].stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("size", "gib"), [("7B", "22.6"), ("3B", "13.0")])
def test_the_real_bases_are_planned_for_another_machine_without_network_and_download(
    shared_cache: Path, tmp_path: Path, size: str, gib: str
) -> None:
    line = [sys.executable, "-m", "omnimer_ray.sweep", "ablations", "--base", f"Qwen/Qwen2.5-Omni-{size}", "--machine", "rtx3090_x4"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub")}
    ended = subprocess.run(
        [*line, "--results", str(tmp_path / "results"), "--dry-run"], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    printed = ended.stdout.splitlines()
    assert f"base     Qwen/Qwen2.5-Omni-{size}, revision unknown until downloaded" in printed
    assert f"card     rtx3090: fits; a worker needs about {gib} GiB of 24.0 for items of up to 9070 tokens" in printed
    assert any(text.startswith("machine  not this one: the profile asks for ") for text in printed)
    assert any("by arithmetic, not measured: " in text for text in printed)
    assert not (tmp_path / "results").exists()
    begun = subprocess.run([*line, "--results", str(tmp_path / "results")], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert begun.returncode == 2
    assert f"run `hf download Qwen/Qwen2.5-Omni-{size}`" in begun.stderr
    assert not (tmp_path / "results").exists()


def test_an_error_is_a_line_and_not_a_traceback() -> None:
    ended = command("ablation")
    assert ended.returncode == 2
    expected = "ConfigError: search space 'ablation' is unknown, and is no path of a file of your own (.py); did you mean 'ablations'?\n"
    assert (ended.stdout, ended.stderr) == ("", expected)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int | str | None:
    """The command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["sweep", *words])
    with pytest.raises(SystemExit) as ended:
        sweep.main()
    return ended.value.code


PROFILE = "docs: a test\nmicro_batch: 8\nworkers_per_run: 0\n"
FILES = {
    "many.yaml": PROFILE.replace("0", "4096"),
    "cards.yaml": PROFILE.replace("0", "4096") + "cpus_per_worker: 0.0001\ngpus_per_worker: 1\n",
    "odd.yaml": PROFILE.replace("8", "3"),
    "misspelt.yaml": PROFILE + "micro_batches: 2\n",
    "broken.py": '"""A question?"""\ndef space(:\n',
    "raises.py": '"""A question?"""\ndef space(recipe):\n    return recipe.lora.rnak\n',
    "misspelt.py": '"""A question?"""\nfrom omnimer_ray.planning.space import SearchSpace\n'
    'def space(recipe): return SearchSpace(recipe, {"One": {"lora.rnak": 4}, "Two": {"epoch": 1}})\n',
}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ("ablations --corpus minni", 2, "ConfigError: unknown corpus 'minni'; did you mean 'mini' or 'mini_zh'?"),
        ("ablations --corpus indomer", 2, "ConfigError: corpus 'indomer' needs a folder: indomer:PATH"),
        ("ablations --corpus indomer:/no/where", 3, "CorpusError: "),
        ("ablations --exclude clip_1", 2, "ConfigError: corpus 'mini' is generated: it takes neither a media folder nor excluded clips"),
        ("ablations --base tinny", 2, "BaseModelError: base 'tinny' is neither 'tiny', nor a folder, nor a hub name"),
        ("ablations --base {here}", 2, "BaseModelError: base '{here}': {here}/config.json is missing; give a folder with a Qwen2.5-Omni"),
        ("ablations --machine laptob", 2, "MachineError: machine profile 'laptob': no file "),
        ("ablations --machine {here}/many.yaml", 2, "MachineError: the profile asks for 4096 cores a run (4096 workers), and there are "),
        ("ablations --machine {here}/cards.yaml", 2, "MachineError: the profile asks for 4096 GPUs a run (4096 workers), and there are "),
        ("ablations --machine {here}/odd.yaml", 2, "ConfigError: micro_batch 3 x workers 1 does not divide block 8; "),
        (
            "ablations --machine {here}/misspelt.yaml",
            2,
            "ConfigError: machine profile {here}/misspelt.yaml: unknown field 'micro_batches'; did",
        ),
        ("{here}/broken.py", 2, "ConfigError: search space {here}/broken.py is not valid Python: invalid syntax"),
        (
            "{here}/raises.py",
            2,
            "ConfigError: search space {here}/raises.py: space(recipe) raised AttributeError: 'LoraConfig' object has no",
        ),
        (
            "{here}/misspelt.py",
            2,
            "ConfigError: variant 'One': unknown field 'lora.rnak'; did you mean 'lora.rank' or 'lora.alpha'? variant",
        ),
        ("{here}/absent.py", 2, "ConfigError: search space '{here}/absent.py': no such file"),
        ("ablations --limit 4", 2, "ConfigError: corpus: limit: Input should be greater than or equal to 8"),
        ("ablations --folds 60", 2, "ConfigError: folds 60 must be from 2 to "),
        ("ablations --json", 2, "ConfigError: --json goes with --dry-run or --status"),
        ("ablations --retry all", 2, "ConfigError: --retry 'all': only 'failed' can be tried again"),
    ],
)
def test_faults_are_reported_before_any_work_starts(
    words: str,
    code: int,
    text: str,
    tmp_path: Path,
    shared_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    results = tmp_path / "results"
    assert run(monkeypatch, *words.format(here=tmp_path).split(), "--results", str(results)) == code
    printed = capsys.readouterr().err
    assert printed.startswith(text.format(here=tmp_path))
    assert not results.exists()


@pytest.mark.parametrize("words", ["ablations --rank 4", "ablations --seeds 0", "ablations --folds 1", "ablations --limit many", "one two"])
def test_wrong_usage_is_reported(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, *words.split()) == 2
    assert "Usage: " in capsys.readouterr().err


def test_without_a_name_the_spaces_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch) == 2
    assert "  ablations " in capsys.readouterr().out


def test_a_folder_in_use_by_another_sweep_is_refused(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ablations" / "mini-tiny-limit64"
    with Lease(folder):
        assert run(monkeypatch, "ablations", "--limit", "64", "--results", str(tmp_path)) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"LeaseHeldError: {folder} is in use by another sweep (pid {os.getpid()} on ")
    assert PLAN in printed.out


def test_the_plan_and_the_state_as_json(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ablations", "--json", "--status", "--seeds", "2", "--results", str(tmp_path)]
    assert run(monkeypatch, *words) == 0
    data = json.loads(capsys.readouterr().out)
    assert (len(data["units"]), data["stages"], data["running"]) == (3 + 2 + 28, 26, False)
    assert data["command"] == f"{python_word()} -m omnimer_ray.sweep ablations --seeds 2 --results {tmp_path}"


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["ablations", "--dry-run"], ["ablations"]),
        (["ablations", "--retry", "failed", "--seeds", "3"], ["ablations", "--seeds", "3"]),
        (["ablations", "--retry=failed", "--status", "--json"], ["ablations"]),
        (["ablations", "--exclude", "a", "--exclude", "b"], ["ablations", "--exclude", "a", "--exclude", "b"]),
    ],
)
def test_the_command_that_resumes_has_no_options_that_only_print(words: list[str], kept: list[str]) -> None:
    assert sweep._without(words) == kept


def test_the_codes_are_those_that_launch_returns() -> None:
    from omnimer_ray import launch

    assert (sweep.DONE, sweep.FAILED, sweep.INTERRUPTED) == (launch.DONE, launch.FAILED, launch.INTERRUPTED) == (0, 4, 128 + signal.SIGINT)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ablations"], ".venv/bin/python -m omnimer_ray.sweep ablations"),
        (["ablations", "SEEDS=3"], ".venv/bin/python -m omnimer_ray.sweep ablations --seeds 3"),
        (["chaos"], "PYTHONPATH=. .venv/bin/python tests/chaos.py"),
        (["chaos", "KILLS=3"], "PYTHONPATH=. .venv/bin/python tests/chaos.py --kills 3"),
    ],
)
def test_make_passes_only_variables_that_were_set(words: list[str], expected: str) -> None:
    """A default in the Makefile would override the search space's own seeds."""
    assert make_command(*words) == expected


def test_the_command_that_resumes_works_where_the_first_was_given(tmp_path: Path, shared_cache: Path) -> None:
    """In a shell that no environment was activated in, as behind `make ablations`."""
    words = ["ablations", "--status", "--limit", "64", "--results", "my results"]
    environment = {**os.environ, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "300"}
    line = [sys.executable, "-m", "omnimer_ray.sweep", *words]
    ended = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    printed = ended.stdout.splitlines()[-1].removeprefix("resume with:  ")
    assert printed.endswith("-m omnimer_ray.sweep ablations --limit 64 --results 'my results'")
    again = subprocess.run(f"{printed} --status", shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout == ended.stdout
