"""Checks of the software: Python, packages, torch with its operators, the compiler for DeepSpeed's op."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from omnimer_ray.doctor.finding import Finding
from omnimer_ray.machine.profile import MachineProfile

PROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"
OLDEST = (3, 11)
# A torchvision that does not fit its torch imports, and fails at its first operator.
PROBE = """
import json, torch, torchvision
torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
print(json.dumps({"torch": torch.__version__, "torchvision": torchvision.__version__, "cuda": torch.version.cuda, "cards": cards}))
"""


def python(version: Sequence[int] = sys.version_info[:3]) -> Finding:
    """Check the interpreter's version."""
    text = ".".join(map(str, version))
    if tuple(version[:2]) < OLDEST:
        return Finding("python", False, f"Python {text} is too old; make the environment with Python 3.11 or later")
    return Finding("python", True, f"Python {text}")


def packages(requirements: Sequence[str] | None = None) -> Finding:
    """Check that every package of the core and of the extra 'train' is installed in a supported version."""
    from packaging.requirements import Requirement

    faults = []
    wanted = [Requirement(line) for line in (requirements if requirements is not None else _requirements())]
    for requirement in wanted:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            faults.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            faults.append(f"{requirement.name} is {version}, and {requirement.specifier} is needed")
    if faults:
        return Finding("packages", False, f"{'; '.join(faults)}; install again: make clean test, or pip install 'omnimer-ray[train]'")
    return Finding("packages", True, f"all {len(wanted)} are installed in versions that fit")


def _requirements() -> list[str]:
    """Requirements of the core and of 'train': from the checkout if there is one, else from the installed package."""
    if PROJECT.is_file():
        project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
        return [*project["dependencies"], *project["optional-dependencies"]["train"]]
    lines = importlib.metadata.requires("omnimer-ray") or []
    return [line.split(";")[0] for line in lines if "extra ==" not in line or "train" in line.split("extra ==")[1]]


def operators(profile: MachineProfile, limit_sec: float = 180, probe: str = PROBE) -> Finding:
    """Check that torch and torchvision fit each other and that torch sees the cards; in a separate process, because a wrong pair may crash."""
    try:
        done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=limit_sec, check=False)
    except subprocess.TimeoutExpired:
        return Finding("torch", False, f"importing torch and torchvision took more than {limit_sec:g} s; look for a hanging disk or driver")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Finding("torch", False, f"torch and torchvision do not fit each other ({reason}); install the versions of requirements.lock")
    seen = json.loads(done.stdout.strip().splitlines()[-1])
    text = f"torch {seen['torch']} and torchvision {seen['torchvision']} fit; {seen['cards']} cards"
    if profile.gpus_per_worker and not seen["cards"]:
        built = f"built for CUDA {seen['cuda']}" if seen["cuda"] else "built without CUDA"
        return Finding("torch", False, f"torch {seen['torch']}, {built}, sees no card; install a build and a driver that fit each other")
    return Finding("torch", True, text)


def compiler(profile: MachineProfile, which: Callable[[str], str | None] = shutil.which) -> Finding:
    """Check the compiler: on a CPU DeepSpeed compiles one small op at its first use, and keeps it in $TORCH_EXTENSIONS_DIR."""
    if profile.gpus_per_worker:
        return Finding("compiler", True, "none is needed: DeepSpeed compiles its op on machines without cards only")
    folder = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions")
    missing = []
    if which("ninja") is None and not Path(sys.executable).with_name("ninja").exists():
        missing.append("ninja (pip install ninja)")
    built = any(folder.rglob("deepspeed_shm_comm.so"))
    if not built:
        name = os.environ.get("CXX", "c++")
        if which(name) is None:
            missing.append(f"the C++ compiler {name!r} (apt install g++, or name another in CXX)")
        if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
            missing.append("Python's headers (apt install python3-dev)")
    if fault := unwritable(folder):
        missing.append(f"a folder for compiled operators: {folder} cannot be written ({fault}); set TORCH_EXTENSIONS_DIR to a local one")
    if missing:
        return Finding("compiler", False, f"DeepSpeed's op cannot be built or found; it needs {'; '.join(missing)}")
    return Finding(
        "compiler", True, f"DeepSpeed's op is {'built' if built else 'built at its first use, in a minute,'} and kept in {folder}"
    )


def unwritable(folder: Path) -> str | None:
    """Reason why a folder cannot be made, written, flushed and read again, or None."""
    probe = folder / f".doctor-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with probe.open("w+", encoding="utf-8") as file:
            file.write("written")
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            if file.read() != "written":
                return "a file that was written could not be read back"
        probe.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return None
