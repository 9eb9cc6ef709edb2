"""``covey swarm ca``: flags, external CAs and the progress of a root rotation."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from cli.commands.swarm_ca import NEW_BACKUP_NOTICE, ca, parse_external_ca, root_rotation_progress
from covey.errors import InvalidArgumentError

OLD = {"TrustRoot": "old", "CertIssuerSubject": "s", "CertIssuerPublicKey": "old key"}
NEW = {"TrustRoot": "old+new", "CertIssuerSubject": "s", "CertIssuerPublicKey": "new key"}
END = {**NEW, "TrustRoot": "new"}


def node(name: str, tls: dict[str, str], state: str = "ready") -> dict[str, Any]:
    return {"ID": name, "Description": {"Hostname": name, "TLSInfo": tls}, "Status": {"State": state}}


def test_progress_names_the_nodes_whose_certificate_is_missing() -> None:
    swarm = {"TLSInfo": NEW, "RootRotationInProgress": True}
    found = root_rotation_progress(swarm, [node("a", NEW), node("b", OLD), node("c", OLD, "down"), node("d", {})])
    assert (found.certificates, found.roots, found.done) == (1, 0, False)
    assert found.lines[1:] == (
        "  rotated TLS certificates: 1/4 nodes (waiting for b; c (down); d)",
        "  rotated CA certificates: 0/4 nodes",
    )
    many = root_rotation_progress(swarm, [node(str(number), OLD) for number in range(9)])
    assert many.lines[1].endswith("(waiting for 0; 1; 2; 3; 4 and 4 more)")


def test_rotation_is_done_when_all_nodes_trust_only_the_new_root() -> None:
    swarm = {"TLSInfo": END, "RootRotationInProgress": False}
    half = root_rotation_progress(swarm, [node("a", END), node("b", NEW)])
    assert (half.certificates, half.roots, half.done) == (2, 1, False)
    assert root_rotation_progress(swarm, [node("a", END), node("b", END)]).done
    assert not root_rotation_progress({**swarm, "RootRotationInProgress": True}, [node("a", END)]).done


def test_external_ca_is_parsed_as_in_docker(tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_text("-----BEGIN CERTIFICATE-----\n")
    assert parse_external_ca(f"protocol=CFSSL,url=https://ca/sign,cacert={root},label=x") == {
        "Protocol": "cfssl",
        "URL": "https://ca/sign",
        "CACert": "-----BEGIN CERTIFICATE-----\n",
        "Options": {"label": "x"},
    }
    plain = tmp_path / "plain"
    plain.write_text("none")
    for text, words in (
        ("cfssl", "must be KEY=VALUE"),
        ("protocol=acme,url=https://a", "unrecognized external CA protocol acme"),
        ("url=https://a", "needs a protocol= parameter"),
        ("protocol=cfssl", "needs a url= parameter"),
        (f"protocol=cfssl,url=https://a,cacert={plain}", "must be in PEM format"),
        ("protocol=cfssl,url=https://a,cacert=/no/file", "cannot read"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            parse_external_ca(text)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cert-expiry", "2h"], "--cert-expiry needs --rotate"),
        (["--external-ca", "protocol=cfssl,url=https://a"], "--external-ca needs --rotate"),
        (["--rotate", "--external-ca", "protocol=cfssl,url=https://a"], "needs --ca-cert"),
        (["--rotate", "--ca-cert", "FILE"], "needs --ca-key, or --external-ca"),
        (["--rotate", "--ca-key", "FILE"], "--ca-key needs --ca-cert"),
    ],
)
def test_conflicting_flags_are_refused_before_the_daemon_is_asked(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    file = tmp_path / "x.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\n")
    found = CliRunner().invoke(ca, [str(file) if word == "FILE" else word for word in arguments])
    assert found.exit_code == 2, found.output
    assert words in found.output
    assert isinstance(ca, click.Command)


class Rotating(socketserver.ThreadingUnixStreamServer):
    """A daemon whose nodes all have the root ``after`` as soon as a rotation is requested."""

    daemon_threads = True
    before: dict[str, str]
    after: dict[str, str]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Rotating

    def address_string(self) -> str:
        return "client"

    def log_message(self, *args: object) -> None:
        return

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.before = self.server.after
        self._answer({})

    def do_GET(self) -> None:
        tls = self.server.before
        swarm = {"TLSInfo": tls, "RootRotationInProgress": False, "Version": {"Index": 1}, "Spec": {}}
        self._answer([node("a", tls)] if "nodes" in self.path else swarm)

    def _answer(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.mark.parametrize(("after", "words"), [(END, [NEW_BACKUP_NOTICE]), (OLD, [])], ids=["new", "the same"])
def test_a_new_root_is_printed_with_a_notice_to_take_a_backup(
    tmp_path: Path, after: dict[str, str], words: list[str]
) -> None:
    with Rotating(str(tmp_path / "s"), Handler) as daemon:
        daemon.before, daemon.after = OLD, after
        thread = threading.Thread(target=daemon.serve_forever)
        thread.start()
        try:
            found = CliRunner().invoke(ca, ["--rotate"], env={"COVEY_HOST": f"unix://{tmp_path / 's'}"})
        finally:
            daemon.shutdown()
            thread.join()
    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines()[-1] == after["TrustRoot"]
    assert found.stderr.splitlines() == words
