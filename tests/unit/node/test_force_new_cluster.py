"""Flags that clients send with ``swarm init --force-new-cluster``: defaults are accepted, flags without effect are refused."""

import http.server
import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from covey.errors import InvalidArgumentError
from engine.translate import swarm
from node.force_new_cluster_flags import refuse_unsupported_flags

CLIENTS = {"docker": ["docker"], "covey": [sys.executable, "-m", "cli.main"]}


class Daemon(socketserver.ThreadingUnixStreamServer):
    """A daemon that answers as after a forced new cluster, and records what it was sent."""

    daemon_threads = True
    sent: list[Any]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Daemon

    def address_string(self) -> str:
        return "client"

    def log_message(self, *args: object) -> None:
        return

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self.server.sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(b'"n1"')

    def do_GET(self) -> None:
        manager = {"NodeID": "n1", "Addr": "192.0.2.1:2377"}
        said = {
            "Swarm": {"NodeAddr": "192.0.2.1", "NodeID": "n1", "RemoteManagers": [manager]},
            "ManagerStatus": {"Leader": True, "Addr": manager["Addr"]},
            "JoinTokens": {"Worker": "w", "Manager": "m"},
            "UnlockKey": "k",
        }
        self._answer(json.dumps(said).encode())

    def _answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Api-Version", "1.47")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(str(tmp_path / "s"), Handler) as server:
        server.sent = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def force(daemon: Daemon, client: str, *flags: str) -> None:
    """The client asks, and what it sent is read as the Engine API reads it."""
    command = [*CLIENTS[client], "-H", f"unix://{daemon.server_address!s}", "swarm", "init", "--force-new-cluster"]
    subprocess.run([*command, *flags], check=True, capture_output=True, timeout=60)
    [body] = daemon.sent
    request = swarm.read_init(body)
    assert request.force_new_cluster
    refuse_unsupported_flags(request)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "flags",
    [[], ["--advertise-addr", "192.0.2.1"], ["--listen-addr", "192.0.2.1:2377"], ["--availability", "active"]],
    ids=["plain", "advertise", "listen", "default"],
)
def test_defaults_that_clients_send_are_accepted(daemon: Daemon, client: str, flags: list[str]) -> None:
    force(daemon, client, *flags)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("flag", "value", "instead"),
    [
        ("--availability", "drain", "node update --availability drain self"),
        ("--cert-expiry", "48h", "swarm update --cert-expiry"),
        ("--dispatcher-heartbeat", "9s", "swarm update --dispatcher-heartbeat"),
        ("--max-snapshots", "2", "swarm update --max-snapshots"),
        ("--snapshot-interval", "5", "swarm update --snapshot-interval"),
        ("--task-history-limit", "3", "swarm update --task-history-limit"),
        ("--default-addr-pool", "10.9.0.0/16", "cannot be changed after the cluster was created"),
        ("--default-addr-pool-mask-length", "25", "cannot be changed after the cluster was created"),
    ],
)
def test_a_flag_without_effect_is_refused_with_the_command_to_use(
    daemon: Daemon, client: str, flag: str, value: str, instead: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=f"Remove these flags: {flag}; .*{instead}"):
        force(daemon, client, flag, *[value] * bool(value))


def test_several_flags_are_named_together_and_settings_without_a_flag_too() -> None:
    spec = {"EncryptionConfig": {"AutoLockManagers": True}, "Orchestration": {"TaskHistoryRetentionLimit": 1}}
    with pytest.raises(InvalidArgumentError, match="Remove these flags: --task-history-limit, --default-addr-pool;"):
        refuse_unsupported_flags(swarm.read_init({"Spec": spec, "DefaultAddrPool": ["10.9.0.0/16"]}))
    with pytest.raises(InvalidArgumentError, match="the other settings of Spec"):
        refuse_unsupported_flags(swarm.read_init({"Spec": {"Labels": {"a": "b"}}}))
    refuse_unsupported_flags(swarm.read_init({"Spec": swarm.write_spec(swarm.read_spec({}))}))
    refuse_unsupported_flags(swarm.read_init({"AutoLockManagers": True}))
