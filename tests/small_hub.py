"""A hub of this machine: one repository with one commit, for the hub's own client; and a hub cache as that client lays it out."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

COMMIT, OTHER = "a" * 40, "b" * 40


def cached(cache: Path, name: str, checkpoint: Path, commit: str = COMMIT, main: str | None = COMMIT) -> Path:
    """The snapshot of `commit` in a hub cache, a copy of `checkpoint`; `main` is where the branch of that name points."""
    repository = cache / f"models--{name.replace('/', '--')}"
    if main is not None:
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / "main").write_text(main)
    return Path(shutil.copytree(checkpoint, repository / "snapshots" / commit))


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, name: str, checkpoint: Path, commit: str = COMMIT) -> Iterator[list[str]]:
    """The client of this process asks a hub with `checkpoint` as NAME at `commit`; the paths that it asked for."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, name, checkpoint, commit, asked))
    Thread(target=server.serve_forever, daemon=True).start()
    point_at(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()


def point_at(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Another hub for the client of this process."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


class _Hub(BaseHTTPRequestHandler):
    def __init__(self, name: str, checkpoint: Path, commit: str, asked: list[str], *connection: object) -> None:
        self.name, self.checkpoint, self.commit, self.asked = name, checkpoint, commit, asked
        super().__init__(*connection)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        file = self.checkpoint / path.rpartition("/")[2]
        if path in (f"/api/models/{self.name}", f"/api/models/{self.name}/revision/{self.commit}"):
            body = json.dumps({"id": self.name, "sha": self.commit}).encode()
        elif path == f"/api/models/{self.name}/tree/{self.commit}":
            names = [file for file in sorted(self.checkpoint.iterdir()) if file.is_file()]
            body = json.dumps(
                [{"type": "file", "path": file.name, "size": file.stat().st_size, "oid": file.name} for file in names]
            ).encode()
        elif path.startswith(f"/{self.name}/resolve/{self.commit}/") and file.is_file():
            body = file.read_bytes()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""
