"""Records stand whole or not at all."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from omnimer_ray.errors import ResultsError
from omnimer_ray.records import (
    clips_schema,
    file_hash,
    ledger_schema,
    prediction_row,
    predictions_schema,
    read_json,
    read_record,
    write_atomically,
    write_json,
    write_record,
    write_table,
)


def test_a_record_contains_the_hashes_of_its_files(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "abc"
    write_json(run / "config.json", {"seed": 0})
    (run / ".half.tmp").write_text("left by a killed process")
    write_record(run, {"outcome": "done"})
    assert read_record(run) == {"outcome": "done", "files": {"config.json": file_hash(run / "config.json")}}
    write_record(run, {"outcome": "done"})  # again: a record holds no hash of itself
    assert set(json.loads((run / "record.json").read_text())["files"]) == {"config.json"}


def test_there_is_no_record_before_it_is_written(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    assert read_record(tmp_path / "absent") is None


def test_the_error_names_a_recorded_file_that_is_missing(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {})
    write_record(tmp_path, {"outcome": "done"})
    (tmp_path / "config.json").unlink()
    with pytest.raises(ResultsError, match=r"config\.json is recorded but missing; remove .*, and the same command makes it again"):
        read_record(tmp_path)


@pytest.mark.parametrize("content", ['{"outcome": "do', "", "[" * 100_000, "\x00"])
def test_the_error_names_incomplete_json(tmp_path: Path, content: str) -> None:
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(ResultsError, match=r"record\.json is not valid JSON .*; remove it, and the same command makes it again"):
        read_record(tmp_path)


def test_the_error_names_json_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes("{}".encode("utf-16"))
    with pytest.raises(ResultsError, match="is not valid JSON"):
        read_json(tmp_path / "plan.json")


def test_writing_leaves_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_json(path, 1)

    def full(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(ResultsError, match=r"cannot write .*table\.json: No space left on device; finished work is kept"):
        write_atomically(path, full)
    assert read_json(path) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["table.json"]


@pytest.mark.parametrize("write", ["write_table(path, pl.DataFrame({'a': list(range(100_000))}))", "write_json(path, 'a' * 100_000)"])
def test_a_full_disk_raises_an_error_and_leaves_no_partial_file(tmp_path: Path, write: str) -> None:
    code = f"""if True:
        import resource, pathlib, polars as pl
        from omnimer_ray.records import write_json, write_table
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        path = pathlib.Path({str(tmp_path / "made")!r})
        {write}"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "StorageError: cannot write" in ended.stderr.splitlines()[-1]
    assert "File too large; finished work is kept; fix this and run the same command again" in ended.stderr
    assert [file.name for file in tmp_path.iterdir()] == []


def test_the_error_names_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(ResultsError, match=r"cannot write .*plan\.json: (File exists|Not a directory)"):
        write_json(tmp_path / "results" / "ablations" / "plan.json", {})


def test_the_error_names_a_record_that_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("[1]")
    with pytest.raises(ResultsError, match=r"record\.json is no record; remove .*, and the same command makes it again"):
        read_record(tmp_path)


def test_json_has_one_form_and_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": "é", "a": 1})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n "a": 1,\n "b": "é"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", float("nan"))
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("schema", [clips_schema, predictions_schema, ledger_schema])
def test_declared_columns_survive_parquet(tmp_path: Path, schema: object) -> None:
    columns = schema()  # type: ignore[operator]
    values = {"List(Float64)": [0.25, 0.75], "Binary": b"\xff\xd8", "Float64": 0.5, "Int64": 2, "Boolean": True}
    row = {name: values.get(str(dtype), "x") for name, dtype in columns.items()}
    frame = pl.DataFrame([row, dict.fromkeys(columns)], schema=columns)
    write_table(tmp_path / "t.parquet", frame)
    assert pl.read_parquet(tmp_path / "t.parquet").equals(frame)
    assert dict(pl.read_parquet(tmp_path / "t.parquet").schema) == columns


def test_a_row_of_predictions_has_every_column_and_no_other() -> None:
    row = prediction_row(clip="a", prediction="neutral")
    assert row.keys() == predictions_schema().keys()
    assert {name: value for name, value in row.items() if value is not None} == {"clip": "a", "prediction": "neutral"}
    with pytest.raises(KeyError, match=r"predictions.parquet has no column 'label'"):
        prediction_row(label="neutral")
