"""``covey swarm backup`` and ``restore``: a failing daemon or disk leaves neither a backup file nor a key file."""

import http.server
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.client import UnreachableError
from cli.commands.swarm_backup import backup, restore
from covey.backup_format import BackupError
from covey.errors import InvalidArgumentError
from covey.objects import Cluster, Node
from manager import backup as sealing
from manager.bootstrap.new_cluster import first_view

NOW = 1_700_000_000_000_000_000
KEY = sealing.new_key()


def file_of(nodes: str = "n1") -> bytes:
    view = first_view(Cluster(id="c1"), Node(id=nodes), NOW)
    return b"".join(sealing.seal(view, (), Cluster(id="c1"), KEY, term=1, now_ns=NOW))


class Server(socketserver.ThreadingUnixStreamServer):
    """Answers every request with ``data``. ``key`` is the key of the backup; ``more`` is how many bytes are promised but not sent.

    If managers are ``locked``, a key is generated only on request.
    """

    daemon_threads = True
    data = b""
    key = KEY
    more = 0
    locked = False
    asked: list[str]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def address_string(self) -> str:
        return "client"

    def log_message(self, *args: object) -> None:
        return

    def do_GET(self) -> None:
        self.server.asked.append(self.headers.get("Covey-Backup-Key", ""))
        self.send_response(200)
        if self.server.key and ("ownKey=" in self.path or not self.server.locked):
            self.send_header("Covey-Backup-Key", self.server.key)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(f"{len(self.server.data) + self.server.more:x}\r\n".encode() + self.server.data)
        self.wfile.write(b"" if self.server.more else b"\r\n0\r\n\r\n")
        self.close_connection = True


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Server]:
    with Server(str(tmp_path / "s"), Handler) as server:
        server.asked = []
        server.data = file_of()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(daemon: Server, *arguments: str) -> Result:
    return CliRunner().invoke(backup, list(arguments), env={"COVEY_HOST": f"unix://{daemon.server_address!s}"})


def test_a_new_key_is_printed_once_or_written_to_the_key_file_and_reused(daemon: Server, tmp_path: Path) -> None:
    shown = run(daemon, str(tmp_path / "a"))
    assert shown.output.count(KEY) == 1
    assert "Wrote" in shown.output
    kept = run(daemon, "-q", "--key-file", str(tmp_path / "key"), str(tmp_path / "b"))
    assert (kept.exit_code, kept.output) == (0, "")
    assert (tmp_path / "key").read_text().strip() == KEY
    daemon.key = ""
    run(daemon, "-q", "--key-file", str(tmp_path / "key"), str(tmp_path / "c"))
    assert daemon.asked == ["", "", KEY]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "key", "s"]


def test_the_key_file_has_the_backup_key_even_with_autolock(daemon: Server, tmp_path: Path) -> None:
    """Otherwise the unlock key would open the backup. It is not in the key file, and it can rotate."""
    daemon.locked = True
    assert KEY not in run(daemon, str(tmp_path / "a")).output
    assert run(daemon, "-q", "--key-file", str(tmp_path / "key"), str(tmp_path / "b")).exit_code == 0
    assert (tmp_path / "key").read_text().strip() == KEY


@pytest.mark.parametrize(("cut", "more", "error"), [(40, 40, UnreachableError), (40, 0, BackupError)])
def test_an_incomplete_backup_leaves_no_file_and_no_key(
    daemon: Server, tmp_path: Path, cut: int, more: int, error: type[Exception]
) -> None:
    daemon.data, daemon.more = daemon.data[:-cut], more
    (tmp_path / "kept").write_text("the backup of yesterday")
    ran = run(daemon, "--key-file", str(tmp_path / "key"), str(tmp_path / "kept"))
    assert isinstance(ran.exception, error)
    assert KEY not in ran.output
    assert (tmp_path / "kept").read_text() == "the backup of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "s"]


def test_a_key_that_cannot_be_written_leaves_no_backup(daemon: Server, tmp_path: Path) -> None:
    ran = run(daemon, "--key-file", str(tmp_path / "nowhere" / "key"), str(tmp_path / "kept"))
    assert isinstance(ran.exception, InvalidArgumentError)
    assert "cannot write the key" in ran.exception.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]


def test_restore_checks_the_file_before_it_asks_for_the_key(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(file_of()[:-1])
    ran = CliRunner().invoke(restore, [str(tmp_path / "kept")], env={"COVEY_HOST": f"unix://{tmp_path}/nobody"})
    assert isinstance(ran.exception, BackupError)
    (tmp_path / "kept").write_bytes(file_of())
    ran = CliRunner().invoke(restore, [str(tmp_path / "kept")], obj=f"unix://{tmp_path}/nobody", input="")
    assert "no key of the backup on STDIN" in str(ran.exception)
    ran = CliRunner().invoke(restore, [str(tmp_path / "none")], env={"COVEY_HOST": f"unix://{tmp_path}/nobody"})
    assert "cannot read" in str(ran.exception)
