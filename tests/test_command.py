"""What all commands share: the end with an error, and the word that starts this interpreter."""

import sys
from pathlib import Path

import pytest

from omnimer_ray.command import python_word, run_app
from omnimer_ray.errors import CorpusError


def test_an_error_that_the_user_can_fix_is_one_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def app() -> None:
        raise CorpusError("two clips are called a_1; rename one")

    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert (ended.value.code, capsys.readouterr().err) == (3, "CorpusError: two clips are called a_1; rename one\n")


def test_another_error_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_app(lambda: print(1 // 0))


def test_the_printed_python_starts_this_interpreter_from_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make` runs `.venv/bin/python` in a shell whose `python` is another one, or none."""
    environment, elsewhere = tmp_path / "project" / ".venv" / "bin", tmp_path / "elsewhere"
    for folder in (environment, elsewhere):
        folder.mkdir(parents=True)
        (folder / "python").symlink_to(Path(sys.executable).resolve())
    monkeypatch.setattr(sys, "executable", str(environment / "python"))
    monkeypatch.setenv("PATH", str(environment))
    assert python_word() == "python"
    monkeypatch.chdir(tmp_path / "project")
    for path in ("", str(elsewhere), f"{elsewhere}:{environment}"):
        monkeypatch.setenv("PATH", path)
        assert python_word() == ".venv/bin/python", "the same binary, and not the same environment"
    monkeypatch.chdir(elsewhere)
    assert python_word() == str(environment / "python")
