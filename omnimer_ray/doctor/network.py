"""Checks of access to Ray: token authentication, and servers of Ray that are open to other machines without it.

Anyone who reaches Ray's ports without a token can run code as the user who started Ray.
"""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from omnimer_ray.doctor.finding import Finding
from omnimer_ray.machine.profile import MachineProfile

JOBS = "/api/jobs/"  # of a dashboard
AGENT_JOBS = "/api/job_agent/jobs/doctor/logs"  # of the agent that every node has
MAKE_TOKEN = "ray get-auth-token --generate, the same file on every machine"
RESTART = f"stop it (ray stop), make a token ({MAKE_TOKEN}) and start it again with RAY_AUTH_MODE=token"


class Server(NamedTuple):
    """A server of Ray that runs on this machine."""

    kind: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """URL of the list of jobs."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}{self.path}"


def cluster_address(profile: MachineProfile) -> str | None:
    """Address of the running cluster that a sweep would join, if any."""
    return profile.address or os.environ.get("RAY_ADDRESS") or None


def token(profile: MachineProfile, environ: Mapping[str, str] = os.environ, home: Path | None = None) -> Finding:
    """Check that token authentication is on; the token itself is never read.

    Ray 2.60 turns it on by default in the cluster that ray.init starts, and for address 'auto' if a token exists; for an
    explicit address never (ray/_private/worker.py, authentication_token_setup.py).
    """
    mode = environ.get("RAY_AUTH_MODE")
    if mode is not None and mode.lower() != "token":
        return Finding("token", False, f"RAY_AUTH_MODE={mode}: whoever reaches Ray's ports runs code here; unset it, or set it to token")
    address = cluster_address(profile)
    if address is None:
        return Finding("token", True, "on in the cluster that a sweep starts here")
    if mode is None and address != "auto":
        return Finding("token", False, f"the cluster is at {address}; export RAY_AUTH_MODE=token, here and where its nodes are started")
    if not _token_there(environ, home or Path.home()):
        return Finding("token", False, f"no token is found; make one: {MAKE_TOKEN} (or RAY_AUTH_TOKEN_PATH)")
    return Finding("token", True, f"on for the cluster at {address}")


def _token_there(environ: Mapping[str, str], home: Path) -> bool:
    if environ.get("RAY_AUTH_TOKEN"):
        return True
    path = Path(environ.get("RAY_AUTH_TOKEN_PATH") or home / ".ray" / "auth_token")
    return path.is_file() and path.stat().st_size > 0


def open_servers(processes: Path = Path("/proc")) -> Finding:
    """Check that no server of Ray on this machine that other machines can reach accepts jobs without a token."""
    servers = sorted(set(ray_servers(processes)))
    reachable = [server for server in servers if not _loopback(server.host)]
    if open_ones := [f"{server.kind} at {server.host}:{server.port}" for server in reachable if answers(server)]:
        return Finding("open servers", False, f"Ray's {' and '.join(open_ones)} takes jobs from everybody without a token; {RESTART}")
    text = f"none of Ray's {len(servers)} servers here takes jobs from outside without a token" if servers else "no Ray runs here"
    return Finding("open servers", True, text)


def dashboard(url: str) -> Finding:
    """Check that the dashboard of a cluster, at HOST:PORT, requires a token; if it does not, neither do the cluster's other open ports."""
    host, _, port = url.rpartition(":")
    if answers(Server("dashboard", host.strip("[]"), int(port), JOBS)):
        return Finding("dashboard", False, f"the cluster of the dashboard at {url} runs anybody's code without a token; {RESTART}")
    return Finding("dashboard", True, f"{url} asks for a token")


def ray_servers(processes: Path) -> Iterable[Server]:
    """Dashboards and node agents, from the command lines of this machine's processes; an agent's address is in its raylet's."""
    for path in processes.glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:  # it ended
            continue
        program = line.split("--")[0]
        given = dict(re.findall(r"--([a-z-]+)=(\S+)", line))
        if "dashboard/dashboard.py" in program and given.get("port", "").isdigit():
            yield Server("dashboard", given.get("host", "127.0.0.1"), int(given["port"]), JOBS)
        elif "raylet/raylet" in program and int(given.get("listen-port", "0")):
            yield Server("agent", given.get("node-ip-address", "127.0.0.1"), int(given["listen-port"]), AGENT_JOBS)


def answers(server: Server, limit_sec: float = 1.0) -> bool:
    """Whether a server answers requests without a token."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    request = urllib.request.Request(server._replace(host=everywhere.get(server.host, server.host)).url)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=limit_sec):
            return True
    except urllib.error.HTTPError as error:
        return error.code not in (401, 403)
    except (OSError, ValueError):  # nothing there
        return False


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
