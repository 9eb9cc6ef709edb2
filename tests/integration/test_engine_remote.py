"""The Engine API over TCP with TLS, a configuration file, its reload, and sockets of systemd: a real coveyd and the docker client."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab.image import root_file_system
from tests.support.coveyd_process import CoveydProcess, running
from tests.support.tls_files import make_tls_files

pytestmark = pytest.mark.root
URL = "tcp://127.0.0.1:2376"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoveydProcess]:
    folder = tmp_path_factory.mktemp("coveyd")
    make_tls_files(folder / "tls")
    (folder / "registries.toml").write_text("")
    (folder / "coveyd.toml").write_text(config(folder, "disk=ssd"))
    with running(folder, "--config", f"{folder}/coveyd.toml") as started:
        yield started


def config(folder: Path, label: str, extra: str = "") -> str:
    return f"""
hosts = ["unix://{folder}/run/covey.sock", "{URL}"]
tlsverify = true
tlscacert = "{folder}/tls/ca.pem"
tlscert = "{folder}/tls/server-cert.pem"
tlskey = "{folder}/tls/server-key.pem"
registries-file = "{folder}/registries.toml"
labels = ["{label}"]
{extra}
"""


def remote(daemon: CoveydProcess) -> dict[str, str]:
    return {"DOCKER_HOST": URL, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(daemon.folder / "tls")}


def test_docker_tls_verify_reaches_the_daemon(daemon: CoveydProcess) -> None:
    out, _ = daemon.docker("info", "--format", "{{.OSType}} {{json .Labels}}", **remote(daemon))
    assert out.split() == ["linux", '["disk=ssd"]']


def test_a_docker_context_reaches_the_daemon(daemon: CoveydProcess) -> None:
    tls = daemon.folder / "tls"
    endpoint = f"host={URL},ca={tls}/ca.pem,cert={tls}/cert.pem,key={tls}/key.pem"
    daemon.docker("context", "create", "far", "--docker", endpoint)
    assert daemon.inside("docker", "--context", "far", "version", "--format", "{{.Server.Os}}")[0].strip() == "linux"


@pytest.mark.parametrize("certificate", ["none", "foreign"])
def test_a_client_without_a_certificate_of_the_ca_is_refused(daemon: CoveydProcess, certificate: str) -> None:
    tls = daemon.folder / "tls"
    extra = [] if certificate == "none" else [f"--tlscert={tls}/foreign-cert.pem", f"--tlskey={tls}/foreign-key.pem"]
    command = ["--host", URL, "--tls", f"--tlscacert={tls}/ca.pem", *extra, "version"]
    _, err = daemon.inside("docker", *command, check=None)
    assert "certificate" in err


def test_output_follows_after_the_client_has_ended_its_input(daemon: CoveydProcess) -> None:
    """`docker run -i` half-closes its TLS connection at the end of its input; the container's answer still has to arrive."""
    daemon.docker("import", "-", "box", stdin=root_file_system())
    data = b"x" * 300_000
    script = "cat >/tmp/in; sleep 0.3; wc -c </tmp/in; cat /tmp/in"
    run = ["run", "--rm", "-i", "--network", "none", "box", "/bin/sh", "-c", script]
    out, _ = daemon.docker(*run, stdin=data, **remote(daemon))
    assert out.split()[0] == "300000"
    assert out.endswith("x" * 300_000)


def test_sighup_reloads_what_can_change_and_publishes_it(daemon: CoveydProcess) -> None:
    file = daemon.folder / "coveyd.toml"
    file.write_text(config(daemon.folder, "disk=hdd", 'log-driver = "none"\njoin-port = 4001'))
    daemon.reload()
    daemon.wait_for(lambda: "reloaded the configuration" in daemon.log, "the reload")
    assert "join-port cannot change while the daemon runs" in daemon.log
    out, _ = daemon.docker("info", "--format", "{{json .Labels}} {{.LoggingDriver}}")
    assert out.split() == ['["disk=hdd"]', "none"]
    made = daemon.docker("create", "box", "true")[0].strip()
    out, _ = daemon.docker("inspect", "--format", "{{.HostConfig.LogConfig.Type}}", made)
    assert out.strip() == "none"
    out, _ = daemon.docker(
        "events",
        "--since",
        "1h",
        "--until",
        str(int(time.time()) + 1),
        "--filter",
        "type=daemon",
        "--format",
        "{{json .}}",
    )
    event = json.loads(out.splitlines()[-1])
    assert event["Action"] == "reload"
    assert event["Actor"]["Attributes"]["labels"] == '{"disk":"hdd"}'
    file.write_text("unknown = 1")
    daemon.reload()
    daemon.wait_for(lambda: "don't match any configuration option: unknown" in daemon.log, "the refused reload")
    assert daemon.docker("info", "--format", "{{json .Labels}}")[0].strip() == '["disk=hdd"]'


def test_systemd_hands_over_its_sockets(tmp_path: Path) -> None:
    """As systemd does: the socket is descriptor 3, and LISTEN_PID names the process that may take it."""
    code = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); os.dup2(s.fileno(), 3); os.set_inheritable(3, True); "
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='api'); os.execv(sys.argv[2], sys.argv[2:])"
    )
    given = str(tmp_path / "given.sock")
    with running(tmp_path, "--host", "fd://api", launcher=[sys.executable, "-c", code, given]) as started:
        assert (
            started.docker("version", "--format", "{{.Server.Os}}", DOCKER_HOST=f"unix://{given}")[0].strip() == "linux"
        )


def test_validate_says_what_is_wrong(tmp_path: Path) -> None:
    coveyd = str(Path(sys.executable).with_name("coveyd"))
    file = tmp_path / "coveyd.toml"

    def validate() -> tuple[int, str]:
        done = subprocess.run(
            [coveyd, "--validate", "--config", str(file)], capture_output=True, text=True, timeout=30, check=False
        )
        return done.returncode, done.stdout + done.stderr

    file.write_text('debug = true\nregistries-file = "/dev/null"')
    assert validate() == (0, "configuration OK\n")
    file.write_text('hosts = ["fd://"]\ntlsverify = true\ntlscacert = "/nonexistent/ca.pem"')
    code, text = validate()
    assert code == 1
    assert "could not read the TLS file" in text


def test_debug_endpoints_answer_on_the_local_socket_of_a_daemon_in_debug_mode_only(daemon: CoveydProcess) -> None:
    def status(*where: str) -> str:
        return daemon.inside("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *where)[0]

    local = ("--unix-socket", str(daemon.socket), "http://covey/debug/vars")
    assert status(*local) == "404"
    (daemon.folder / "coveyd.toml").write_text(config(daemon.folder, "disk=ssd", "debug = true"))
    daemon.reload()
    daemon.wait_for(lambda: status(*local) == "200", "debug mode")
    for name in ("tasks", "threads"):
        text, _ = daemon.inside("curl", "-s", "--unix-socket", str(daemon.socket), f"http://covey/debug/{name}")
        assert "serve" in text
    tls = daemon.folder / "tls"
    files = ("--cacert", str(tls / "ca.pem"), "--cert", str(tls / "cert.pem"), "--key", str(tls / "key.pem"))
    assert status(*files, "https://127.0.0.1:2376/_ping") == "200"
    assert status(*files, "https://127.0.0.1:2376/debug/vars") == "404"


def test_info_has_every_key_of_the_specification_with_true_values(daemon: CoveydProcess) -> None:
    found = json.loads(daemon.docker("info", "--format", "{{json .}}")[0])
    assert found["ServerVersion"].startswith("28.2.0+covey.")
    assert dict(found["DriverStatus"])["Backing Filesystem"] not in {"", "overlayfs", "<unknown>"}
    assert found["NFd"] > 5
    assert found["NGoroutines"] > 1
    assert "json-file" in found["Plugins"]["Log"]
    assert found["RuncCommit"]["ID"]
    assert found["FirewallBackend"]["Driver"] == "nftables"
    components = json.loads(daemon.docker("version", "--format", "{{json .Server.Components}}")[0])
    assert {"Engine", "covey", "runc", "conmon"} <= {item["Name"] for item in components if item["Version"]}


def covey(daemon: CoveydProcess, *args: str, stdin: bytes = b"", check: int | None = 0, **more: str) -> tuple[str, str]:
    """Run covey over TCP with the client's certificate."""
    program = str(Path(sys.executable).with_name("covey"))
    variables = {"DOCKER_CERT_PATH": str(daemon.folder / "tls"), "COVEY_HOST": URL, "DOCKER_TLS_VERIFY": "1", **more}
    return daemon.inside(program, *args, stdin=stdin, check=check, **variables)


def test_covey_reaches_the_daemon_over_tls_by_variables_and_flags(daemon: CoveydProcess) -> None:
    assert covey(daemon, "version", "--format", "{{.Server.Os}}")[0] == "linux\n"
    tls = daemon.folder / "tls"
    files = [f"--tlscacert={tls}/ca.pem", f"--tlscert={tls}/cert.pem", f"--tlskey={tls}/key.pem"]
    flags = ["-H", URL, "--tlsverify", *files]
    assert covey(daemon, *flags, "info", "--format", "{{.OSType}}", DOCKER_TLS_VERIFY="")[0] == "linux\n"
    unverified = ["-H", "tcp://localhost", "--tls", *files[1:]]
    assert covey(daemon, *unverified, "info", "--format", "{{.OSType}}", DOCKER_TLS_VERIFY="")[0] == "linux\n"


def test_covey_says_why_tls_fails(daemon: CoveydProcess) -> None:
    tls = daemon.folder / "tls"
    foreign = [f"--tlscacert={tls}/foreign-cert.pem"]
    assert "the daemon's certificate is not trusted" in covey(daemon, *foreign, "ps", check=1)[1]
    other = [f"--tlscert={tls}/foreign-cert.pem", f"--tlskey={tls}/foreign-key.pem"]
    assert "--tlscert and --tlskey" in covey(daemon, *other, "ps", check=1)[1]
    assert (
        "--tlscert and --tlskey"
        in covey(daemon, "ps", check=1, DOCKER_CERT_PATH="", DOCKER_TLS="1", DOCKER_TLS_VERIFY="")[1]
    )
    _, err = covey(daemon, "ps", check=1, DOCKER_TLS_VERIFY="")  # plain HTTP to a port with TLS
    assert err.startswith(f"covey: the daemon at {URL} closed the connection")
    assert "is coveyd running?" in covey(daemon, "-H", "tcp://127.0.0.1:9", "ps", check=1)[1]


def test_coveys_streams_over_tls_are_half_closed_and_complete(daemon: CoveydProcess) -> None:
    """The container reads to the end of its input, and answers with more than a TLS record and a socket's buffer hold."""
    if "box" not in covey(daemon, "images", "--format", "{{.Repository}}")[0]:
        daemon.docker("import", "-", "box", stdin=root_file_system())
    data = bytes(range(256)) * 20_000
    scripts = ("cat >/tmp/in; sleep 0.2; cat /tmp/in; exit 3", "cat; exit 3")
    program = str(Path(sys.executable).with_name("covey"))
    variables = {"COVEY_HOST": URL, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(daemon.folder / "tls")}
    for script in scripts:  # the second one answers while it reads, so that both directions are full
        command = [program, "run", "--rm", "-i", "--network", "none", "box", "sh", "-c", script]
        done = subprocess.run(
            ["nsenter", "--net", "--target", str(daemon.process.pid), "--", *command],
            input=data, capture_output=True, timeout=60, check=False, env={"PATH": "/usr/bin:/bin:/usr/sbin", **variables},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (3, b"")
        assert done.stdout == data
    covey(daemon, "run", "-d", "--name", "far", "--network", "none", "box", "sleep", "1000")
    out, err = covey(daemon, "exec", "-i", "far", "sh", "-c", "cat; echo to-stderr >&2", stdin=b"from-stdin\n")
    assert (out, err) == ("from-stdin\n", "to-stderr\n")
    covey(daemon, "cp", "far:/etc/passwd", str(daemon.folder / "copied"))
    assert "root" in (daemon.folder / "copied").read_text()
    assert covey(daemon, "logs", "far")[0] == ""
    covey(daemon, "rm", "-f", "far")


def test_covey_reaches_a_daemon_over_plain_tcp(tmp_path: Path) -> None:
    hosts = ("--host", f"unix://{tmp_path}/run/covey.sock", "--host", "tcp://127.0.0.1:7000", "--insecure-tcp")
    with running(tmp_path, *hosts) as started:
        program = str(Path(sys.executable).with_name("covey"))
        out, _ = started.inside(program, "version", "--format", "{{.Server.Os}}", DOCKER_HOST="tcp://127.0.0.1:7000")
        assert out == "linux\n"
        _, err = started.inside(program, "-H", "tcp://127.0.0.1:7000", "--tls", "ps", check=1)
        assert "does it use TLS at this port?" in err or "TLS: " in err


def test_a_terminal_over_tls_echoes_and_ends(daemon: CoveydProcess) -> None:
    """`script` gives covey a terminal."""
    command = f"{Path(sys.executable).with_name('covey')} run --rm -it --network none box sh -c 'stty size; read x; echo got:$x'"
    out, _ = covey(daemon, "--version")
    assert out.startswith("covey version")
    variables = {
        "COVEY_HOST": URL,
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(daemon.folder / "tls"),
        "TERM": "xterm",
    }
    out, _ = daemon.inside("script", "-qec", command, "/dev/null", stdin=b"hello\n", **variables)
    assert "got:hello" in out
