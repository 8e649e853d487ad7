"""Every fenced command of README.md and cluster/README.md is run here as it is written, as far as it can run without a network.

Placeholders (PATH, /DIR, HEAD) are replaced; a command that is not in COMMANDS fails the test until it is added.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from making import finish, make_command, step, sweep_of

from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.outputs.analysis_inputs import write_clips, write_plan

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "cluster/README.md")
BIN = Path(sys.executable).parent
REVISION = "ae9e1690543ffd5c0221dc27f79834d0294cba00"


def blocks() -> list[str]:
    """The fenced blocks of the pages, in order; a line that ends in a backslash is joined with the next."""
    text = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    return [block.replace("\\\n", " ") for block in re.findall(r"^```(?:python)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def commands() -> list[str]:
    """One command a line, without its comment; a block of Python is one command."""
    lines = []
    for block in blocks():
        one = ["python: " + block] if block.startswith("from ") else block.splitlines()
        lines += [re.sub(r"\s+# .*", "", line).strip() if not line.startswith("python: ") else line for line in one]
    return [" ".join(line.split()) if not line.startswith("python: ") else line for line in lines if line]


class Place:
    """A folder with what the pages take for granted: an environment in .venv, a release, the 7B's files, results."""

    def __init__(self, folder: Path, corpus: Corpus) -> None:
        self.folder, video = folder, corpus.clips[0].video_path
        assert video is not None
        (folder / ".venv").symlink_to(BIN.parent)
        (folder / "cluster").symlink_to(ROOT / "cluster")
        self.release = Path(shutil.copytree(video.parent.parent, folder / "release"))
        _write_results(folder / "results", corpus)
        snapshot = folder / "hub" / "models--Qwen--Qwen2.5-Omni-7B" / "snapshots" / REVISION
        snapshot.mkdir(parents=True)
        (snapshot.parent.parent / "refs").mkdir()
        (snapshot.parent.parent / "refs" / "main").write_text(REVISION)
        thinker = {"text_config": {"hidden_size": 3584}, "audio_config": {}, "vision_config": {"hidden_size": 1280}}
        (snapshot / "config.json").write_text(json.dumps({"model_type": "qwen2_5_omni", "thinker_config": thinker}))
        for name in ("tokenizer_config.json", "preprocessor_config.json"):
            (snapshot / name).write_text("{}")
        (snapshot / "model.safetensors").write_text("weights")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")},
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder / "home"),
            "HF_HUB_CACHE": str(folder / "hub"),
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "300",
        }
        (folder / "home").mkdir()

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """The command in a new shell, in the environment that the page says to activate."""
        typed = command.replace("indomer:PATH", f"indomer:{self.release}").replace("/DIR", str(self.folder / "dir"))
        if not command.startswith((". ", "make ")):
            typed = f". .venv/bin/activate && {typed}"
        return subprocess.run(["bash", "-c", typed], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300)


def _write_results(folder: Path, corpus: Corpus) -> None:
    """One finished run of `ablations`."""
    sweep = sweep_of(folder, corpus.clips)
    unit = next(unit for unit in sweep.plan.units if unit.title == "Base / sentiment, seed 0")
    finish(sweep, unit, step(1, 1.0), predicted=("neutral",) * len(corpus.split("validation")))
    write_plan(sweep)
    write_clips(sweep)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus, shared_cache: Path) -> Place:
    if not (BIN / "activate").exists():
        pytest.skip("these tests run in an environment that can be activated, as make makes it")
    return Place(tmp_path_factory.mktemp("pages"), corpus)


def check_make(place: Place, command: str) -> None:
    """The commands that make would run, which need a package index and minutes."""
    module = {"make ablations": "omnimer_ray.sweep ablations", "make test": "pytest"}[command]
    assert make_command(*command.split()[1:]) == f".venv/bin/python -m {module}"


def check_activate(place: Place, command: str) -> None:
    ended = place.run(f"{command} && which python && python -c 'import omnimer_ray, sys; print(sys.prefix)'")
    assert ended.returncode == 0, ended.stderr
    assert [Path(line).resolve() for line in ended.stdout.splitlines()] == [(BIN / "python").resolve(), BIN.parent.resolve()]


def check_plan(place: Place, command: str) -> None:
    """Read up to the clips, which are too few here for the paper's batch; without two cards it is a plan for another machine."""
    ended = place.run(command)
    assert ended.returncode == 2, ended.stderr
    assert re.match(r"(machine  not this one: the profile asks for (8 cores|2 GPUs) a run \(2 workers\), and there are |)", ended.stdout)
    assert re.match(r"ConfigError: \d+ items x 5 epochs do not fill one global batch of 128; ", ended.stderr), ended.stderr


def check_analysis(place: Place, command: str) -> None:
    ended = place.run(f"python - <<'END'\n{command.removeprefix('python: ')}\nprint(results.predictions.height)\nEND")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "8\n", "")


def check_doctor(place: Place, command: str) -> None:
    """Here it finds much to mend: it has no cards."""
    ended = place.run(command)
    assert ended.returncode in (0, 1), ended.stderr
    checks = {line.split()[1] for line in ended.stdout.splitlines()[:-1]}
    assert {"python", "packages", "cards", "profile", "corpus", "base", "fits"} <= checks
    assert re.search(r"^fine  base +Qwen/Qwen2\.5-Omni-7B, revision ae9e16905", ended.stdout, re.MULTILINE), ended.stdout


def check_answers(place: Place, command: str) -> None:
    """The results here have no adapter, and the command says so; `tests/inference` answers clips."""
    (run,) = (place.folder / "results").glob("*/*/runs/*")
    media = next(place.release.rglob("*.mp4"))
    typed = command.replace("FOLDER", str(media.parent)).replace("CLIP", str(media)).replace("SIGNATURE", run.name)
    ended = place.run(typed)
    assert ended.returncode == 2, ended.stderr
    assert f"run {run.name}" in ended.stderr, ended.stderr
    assert "adapter" in ended.stderr, ended.stderr


def check_table(place: Place, command: str) -> None:
    """A folder of six videos, for `check` with the table filled in as the page says."""
    folder = place.folder / ("filled" if "check" in command else "new")
    folder.mkdir()
    for path in sorted(place.release.rglob("*.mp4"))[:6]:
        shutil.copy(path, folder)
    typed = f"python -m omnimer_ray.corpora new {folder}"
    if "check" in command:
        assert place.run(typed).returncode == 0
        table = (folder / "clips.csv").read_text(encoding="utf-8-sig").splitlines()
        labels = [f",,kata,{('negative', 'neutral', 'positive')[index % 3]}" for index in range(len(table) - 1)]
        rows = [line.split(",")[0] + "," + line.split(",")[1] + label + "," * 7 for line, label in zip(table[1:], labels, strict=True)]
        (folder / "clips.csv").write_text("\n".join([table[0], *rows]), encoding="utf-8")
        typed = command.replace("FOLDER", str(folder))
    ended = place.run(typed)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ("6 clips" if "new" in typed else "Wrong: nothing") in ended.stdout


def check_token(place: Place, command: str) -> None:
    ended = place.run(f"umask 077; {command}")
    assert ended.returncode == 0, ended.stderr
    token = place.folder / "home" / ".ray" / "auth_token"
    assert (len(token.read_text().strip()) >= 32, oct(token.stat().st_mode)[-3:]) == (True, "600")


def check_shell(place: Place, command: str) -> None:
    assert place.run(command).returncode == 0


def check_options(place: Place, command: str) -> None:
    """`make nodes` runs these; here only their options are looked up."""
    words, ours = re.match(r"ray ([a-z ]+?)(?= -)", command), command.split(" -- ")[0]
    assert words is not None
    ended = place.run(f"ray {words[1]} --help")
    assert ended.returncode == 0, ended.stderr
    options = re.findall(r"--[a-z-]+", ours)
    assert options
    assert [option for option in options if option not in ended.stdout] == []


COMMANDS = {
    "make ": check_make,
    ". .venv/bin/activate": check_activate,
    "python -m omnimer_ray.sweep ablations --base Qwen/Qwen2.5-Omni-7B": check_plan,
    "python: from analysis import load": check_analysis,
    "python -m omnimer_ray.doctor --machine rtx3090 ": check_doctor,
    "python -m omnimer_ray.predict FOLDER --run SIGNATURE": check_answers,
    "python -m omnimer_ray.explain CLIP --run SIGNATURE": check_answers,
    "python -m omnimer_ray.corpora new FOLDER": check_table,
    "python -m omnimer_ray.corpora check table:FOLDER/clips.csv": check_table,
    "umask 077": check_shell,
    "export RAY_AUTH_MODE=token": check_shell,
    "ray get-auth-token --generate": check_token,
    "ray start --head": check_options,
    "ray start --address=HEAD:6379": check_options,
    "ray job submit": check_options,
}


def test_the_environment_is_explained_once_before_it_is_used() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert page.count(". .venv/bin/activate") == 1
    assert page.index("make ablations") < page.index(". .venv/bin/activate") < page.index("python -m")


@pytest.mark.parametrize("command", dict.fromkeys(commands()))
def test_fenced_commands_run_as_written(place: Place, command: str) -> None:
    (check,) = [check for start, check in COMMANDS.items() if command.startswith(start)]
    check(place, command)


def test_every_entry_is_a_command_of_a_page() -> None:
    assert [start for start in COMMANDS if not any(command.startswith(start) for command in commands())] == []
