"""Shell completion: command names from the table, object names from the daemon, and silence when there is none."""

import http.server
import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.shell_completion import ShellComplete

from cli.main import main, root

CONTAINERS = [{"Names": ["/web.1"], "State": "running"}, {"Names": ["/old"], "State": "exited"}]
SERVICES = [
    {"Spec": {"Name": "web", "Labels": {"com.docker.stack.namespace": "shop"}}},
    {"Spec": {"Name": "db", "Labels": {}}},
]
ANSWERS = {
    "/services": SERVICES,
    "/nodes": [{"Description": {"Hostname": "alpha"}}, {"Description": {"Hostname": "beta"}}],
    "/networks": [{"Name": "front"}, {"Name": "back"}],
    "/secrets": [{"Spec": {"Name": "token"}}],
    "/configs": [{"Spec": {"Name": "page"}}],
    "/volumes": {"Volumes": [{"Name": "data"}]},
    "/images/json": [{"RepoTags": ["nginx:1", "nginx:2"]}, {"RepoTags": None}],
}


class Handler(http.server.BaseHTTPRequestHandler):
    def address_string(self) -> str:
        return "client"

    def log_message(self, *args: object) -> None:
        return

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = "/" + url.path.split("/", 2)[2]
        answer = ANSWERS.get(path)
        if path == "/containers/json":
            answer = CONTAINERS if "all" in parse_qs(url.query) else CONTAINERS[:1]
        data = json.dumps(answer).encode() if answer is not None else b'{"message": "not a manager"}'
        self.send_response(200 if answer is not None else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    path = tmp_path / "covey.sock"
    with Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("COVEY_HOST", f"unix://{path}")
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            thread.join()


def complete(line: str) -> list[str]:
    """What is suggested for the last word of a command line."""
    *words, incomplete = line.split(" ")
    completion = ShellComplete(root, {}, "covey", "_COVEY_COMPLETE")
    return [item.value for item in completion.get_completions(words, incomplete)]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("service rm ", ["db", "web"]),
        ("service rm web ", ["db"]),
        ("service inspect w", ["web"]),
        ("service scale d", ["db="]),
        ("service update ", ["db", "web"]),
        ("service logs ", ["db", "web"]),
        ("service create --secret ", ["token"]),
        ("service create --config ", ["page"]),
        ("service create --network f", ["front"]),
        ("service update --network-rm ", ["back", "front"]),
        ("service update --secret-add t", ["token"]),
        ("service create ngi", ["nginx:1", "nginx:2"]),
        ("node update ", ["alpha", "beta"]),
        ("node inspect ", ["alpha", "beta", "self"]),
        ("node promote a", ["alpha"]),
        ("network rm ", ["back", "front"]),
        ("secret rm ", ["token"]),
        ("config inspect ", ["page"]),
        ("volume rm ", ["data"]),
        ("image rm ", ["nginx:1", "nginx:2"]),
        ("rmi nginx:1 ", ["nginx:2"]),
        ("start ", ["old", "web.1"]),
        ("exec ", ["web.1"]),
        ("stop ", ["web.1"]),
        ("container rm ", ["old", "web.1"]),
        ("stack rm ", ["shop"]),
        ("inspect fr", ["front"]),
        ("run ngi", ["nginx:1", "nginx:2"]),
        ("run --rm --network f", ["front"]),
        ("run --volumes-from ", ["old", "web.1"]),
        ("create -v d", ["data"]),
        ("run --pull ", ["always", "missing", "never"]),
        ("network connect ", ["back", "front"]),
        ("network disconnect front ", ["old", "web.1"]),
        ("cp w", ["web.1:"]),
        ("commit ", ["old", "web.1"]),
        ("push ngi", ["nginx:1", "nginx:2"]),
        ("update -m 1g ", ["old", "web.1"]),
    ],
)
def test_names_of_objects_are_offered(host: str, line: str, names: list[str]) -> None:
    assert complete(line) == names


def test_the_daemon_of_the_host_option_is_asked(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVEY_HOST", "unix:///nonexistent/covey.sock")
    assert complete("service rm ") == []
    assert complete(f"--host {host} service rm ") == ["db", "web"]


def test_kinds_that_the_daemon_refuses_are_left_out(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ANSWERS, "/nodes")
    assert complete("node rm ") == []
    assert "web" in complete("inspect ")


def test_names_of_commands_come_without_importing_them() -> None:
    assert complete("serv") == ["service"]
    assert complete("service ro") == ["rollback"]
    assert "manifest" not in complete("")
    program = (
        "import sys\nfrom click.shell_completion import ShellComplete\nfrom cli.main import root\n"
        "print(len(ShellComplete(root, {}, 'covey', '_X').get_completions([], '')))\n"
        "assert not [name for name in sys.modules if name.startswith('cli.commands.')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_COVEY_COMPLETE" in capsys.readouterr().out
