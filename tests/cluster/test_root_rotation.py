"""Root CA rotation with the docker and covey clients on real hosts under load: no request fails and no node is lost."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from covey import jointoken
from manager.ca import certificates
from manager.ca.certificates import RootPair
from node.lab import host as machine
from node.lab.layout import LabHost
from tests.support import external_ca, labs
from tests.support.labs import CommandResult, LabCluster, wait

pytestmark = pytest.mark.root
NODE_LIST = "node list"
PROGRAMS = {"docker": "docker", "covey": str(labs.PYTHON_BIN / "covey")}
by_docker_and_covey = pytest.mark.parametrize("program", PROGRAMS)


@pytest.fixture(scope="module")
def root_lab() -> Iterator[LabCluster]:
    with labs.running_lab("root", 3, 2) as found:
        yield found


class Load:
    """Load of writes through every manager and of node lists until the block ends. ``errors`` has every failure, refused connections too.
    ``done`` counts per worker, so that one that stalls is noticed while others continue.
    """

    def __init__(self, lab: LabCluster) -> None:
        self.lab = lab
        self.done = dict.fromkeys([*(host.name for host in lab.managers), NODE_LIST], 0)
        self.errors: list[Any] = []
        self._stop = threading.Event()

    def _write(self, host: LabHost) -> None:
        body = {"Name": f"{host.name}-{time.monotonic_ns()}", "Data": "eA=="}
        status, answer = self.lab.request("POST", "/configs/create", body, on=host)
        if status == http.client.CREATED:
            status, answer = self.lab.request("DELETE", f"/configs/{answer['ID']}", on=host)
        if status != http.client.NO_CONTENT:
            self.errors.append((host.name, status, answer))

    def _list_nodes(self, host: LabHost) -> None:
        for name, node in self.lab.nodes(on=host).items():
            if node["Status"]["State"] != "ready":
                self.errors.append((name, node["Status"]))

    def _repeat(self, who: str, what: Callable[[LabHost], None], host: LabHost, pause_seconds: float) -> None:
        while not self._stop.wait(pause_seconds):
            try:
                what(host)
            except (OSError, http.client.HTTPException) as error:
                self.errors.append((who, repr(error)))
                self._stop.wait(0.05)
            else:
                self.done[who] += 1

    def wait_for_rounds(self, count: int) -> None:
        """Wait until each worker has done ``count`` more rounds or there is an error."""
        wanted = {who: done + count for who, done in self.done.items()}
        wait(
            lambda: self.errors or all(self.done[who] >= least for who, least in wanted.items()), f"work up to {wanted}"
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        last = self.lab.managers[-1]
        with ThreadPoolExecutor(len(self.done)) as pool:
            working = [pool.submit(self._repeat, host.name, self._write, host, 0) for host in self.lab.managers]
            working.append(pool.submit(self._repeat, NODE_LIST, self._list_nodes, last, 0.05))
            try:
                yield
            finally:
                self._stop.set()
        for one in working:
            one.result()
        assert not self.errors, self.errors[:5]


def run_program(lab: LabCluster, program: str, *arguments: str, check: int = 0) -> CommandResult:
    """Run a command of a user with docker or covey."""
    return labs.run([PROGRAMS[program], *arguments], check=check, env=lab.environment())


def root_of(lab: LabCluster) -> str:
    return lab.docker("swarm", "ca").out.strip()


def trusted_roots(host: LabHost) -> str:
    return (host.state_dir / "identity" / "root.crt").read_text().strip()


def issuer_ids(lab: LabCluster) -> dict[str, bytes]:
    """Key identifier of the issuer of each host's certificate."""
    found = {}
    for host in lab.hosts:
        leaf = x509.load_pem_x509_certificate((host.state_dir / "identity" / "node.crt").read_bytes())
        found[host.name] = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return found


def session_count(lab: LabCluster) -> int:
    return sum(host.log.read_text().count("began session") for host in lab.hosts)


def tls_status(lab: LabCluster) -> dict[str, str]:
    lines = lab.docker("node", "ls", "--format", "{{.Hostname}} {{.TLSStatus}}").lines
    return dict(line.split(" ", 1) for line in lines)


def test_a_rotation_under_load_fails_no_request_and_keeps_all_sessions(root_lab: LabCluster) -> None:
    before, began = root_of(root_lab), session_count(root_lab)
    load = Load(root_lab)
    with load.running():
        load.wait_for_rounds(5)
        for program in ("docker", "covey", "docker"):
            said = run_program(root_lab, program, "swarm", "ca", "--rotate").out
            after = root_of(root_lab)
            assert after != before
            assert said.strip().endswith(after)
            assert "desired root digest: sha256:" in said
            before = after
            load.wait_for_rounds(5)
    for host in root_lab.hosts:
        wait(lambda host=host: trusted_roots(host) == after, f"{host.name} to trust only the new root")
    assert len(set(issuer_ids(root_lab).values())) == 1
    assert set(tls_status(root_lab).values()) == {"Ready"}
    assert session_count(root_lab) == began, "an agent lost its session"
    token = root_lab.docker("swarm", "join-token", "-q", "worker").out.strip()
    assert jointoken.parse(token).digest == jointoken.root_digest(after.encode())
    info = json.loads(root_lab.docker("info", "--format", "{{json .Swarm.Cluster}}").out)
    assert (info["RootRotationInProgress"], info["TLSInfo"]["TrustRoot"].strip()) == (False, after)
    pretty = root_lab.docker("node", "inspect", "--pretty", root_lab.workers[0].name).out
    assert "TLS Info:" in pretty
    assert after.splitlines()[1] in pretty


def test_a_node_that_is_down_delays_the_rotation_is_named_and_gets_the_new_root_on_return(root_lab: LabCluster) -> None:
    """A worker is down while the others renew. The leader is killed during the rotation, and its successor completes it."""
    worker = root_lab.workers[1]
    root_lab.kill(worker)
    root_lab.docker("swarm", "ca", "--rotate", "--detach")
    one = root_lab.managers[0]

    def only_worker_is_left() -> bool:
        statuses = tls_status(root_lab)
        return {name for name, status in statuses.items() if status != "Ready"} == {worker.name}

    wait(only_worker_is_left, "only the host that is down not renewed")
    shown = root_lab.get("/swarm", on=one)
    assert shown["RootRotationInProgress"]
    assert shown["TLSInfo"]["TrustRoot"].count("BEGIN CERTIFICATE") == 2
    leader = root_lab.leader()
    assert leader is not None
    root_lab.kill(leader)
    root_lab.wait_leader(but=leader, on=next(host for host in root_lab.managers if host != leader))
    root_lab.start(leader, worker)
    wait(lambda: not root_lab.get("/swarm")["RootRotationInProgress"], "the rotation to complete")
    after = root_of(root_lab)
    for host in root_lab.hosts:
        wait(lambda host=host: trusted_roots(host) == after, f"{host.name} to trust only the new root")
    root_lab.wait_ready()


def test_a_provided_root_with_another_certificate_lifetime_is_used_and_progress_is_shown(
    root_lab: LabCluster, tmp_path: Path
) -> None:
    own = certificates.create_root("our company", time.time_ns())
    for name, pem in (("root.pem", own.cert), ("root.key", own.key)):
        (tmp_path / name).write_bytes(pem)
    other = certificates.create_root("another", time.time_ns())
    (tmp_path / "other.key").write_bytes(other.key)
    files = ("--ca-cert", str(tmp_path / "root.pem"), "--ca-key")
    refused = root_lab.docker("swarm", "ca", "--rotate", *files, str(tmp_path / "other.key"), check=1)
    assert "do not match" in refused.err
    assert not root_lab.get("/swarm")["RootRotationInProgress"]
    command = ["swarm", "ca", "--rotate", "--cert-expiry", "30h", *files, str(tmp_path / "root.key")]
    said = run_program(root_lab, "covey", *command).out
    assert f"rotated TLS certificates: {len(root_lab.hosts)}/{len(root_lab.hosts)} nodes" in said
    assert said.strip().endswith(own.cert.decode().strip())
    assert root_of(root_lab) == own.cert.decode().strip()
    spec = root_lab.get("/swarm")["Spec"]["CAConfig"]
    assert spec["NodeCertExpiry"] == 30 * 3600 * 10**9
    assert not {"SigningCACert", "SigningCAKey"} & spec.keys()
    for host in root_lab.hosts:
        leaf = x509.load_pem_x509_certificate((host.state_dir / "identity" / "node.crt").read_bytes())
        assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() == 31 * 3600
    root_lab.docker("swarm", "update", "--cert-expiry", "5h")

    def shorter() -> bool:
        leaf = x509.load_pem_x509_certificate((root_lab.workers[0].state_dir / "identity" / "node.crt").read_bytes())
        return (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() == 6 * 3600

    wait(shorter, "a certificate with the shorter lifetime")


@contextmanager
def cfssl(on: LabHost, folder: Path, root: RootPair, clients: bytes) -> Iterator[str]:
    """Run cfssl on a host of the lab. Yields its URL."""
    external_ca.prepare(folder, root, clients, addr=on.address)
    until_stdin_ends = ["sh", "-c", '"$@" & cat > /dev/null; kill $!; wait', "sh"]
    command = machine.command_inside(on, [*until_stdin_ends, *external_ca.command(folder, on.address, 8888)])
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdin is not None
        try:
            wait(lambda: b"Now listening" in (folder / "log").read_bytes(), "cfssl to listen")
            yield f"https://{on.address}:8888/api/v1/cfssl/sign"
        finally:
            process.stdin.close()
            process.wait(10)


@by_docker_and_covey
def test_an_external_ca_signs_for_all_hosts_and_its_key_can_be_given_to_the_cluster(
    root_lab: LabCluster, tmp_path: Path, program: str
) -> None:
    """1. Rotate to a root whose key only cfssl has. 2. Give the cluster that key: no certificate changes. 3. Rotate to an internal root."""
    outside = certificates.create_root("outside", time.time_ns())
    cert, key = tmp_path / "root.pem", tmp_path / "root.key"
    cert.write_bytes(outside.cert)
    key.write_bytes(outside.key)
    with cfssl(root_lab.workers[0], tmp_path / "ca", outside, root_of(root_lab).encode() + b"\n" + outside.cert) as url:
        where = f"protocol=cfssl,url={url}"
        run_program(root_lab, program, "swarm", "ca", "--rotate", "--ca-cert", str(cert), "--external-ca", where)
        assert root_of(root_lab) == outside.cert.decode().strip()
        assert set(tls_status(root_lab).values()) == {"Ready"}
        (shown,) = root_lab.get("/swarm")["Spec"]["CAConfig"]["ExternalCAs"]
        assert shown["URL"] == url
        before = issuer_ids(root_lab)
        assert len(set(before.values())) == 1
    refused = run_program(root_lab, program, "swarm", "ca", "--rotate", check=1).err
    assert "must be cross-signed by the current one" in refused
    assert url in refused
    said = run_program(root_lab, program, "swarm", "ca", "--rotate", "--ca-cert", str(cert), "--ca-key", str(key)).out
    assert said.strip().endswith(outside.cert.decode().strip())
    assert issuer_ids(root_lab) == before
    run_program(root_lab, program, "swarm", "ca", "--rotate", "--quiet")
    assert root_of(root_lab) != outside.cert.decode().strip()


@by_docker_and_covey
def test_every_command_of_the_certificates_guide_works(root_lab: LabCluster, tmp_path: Path, program: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "guides" / "certificates.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == page.count("```sh") >= 4
    before = root_of(root_lab)
    environment = root_lab.environment()
    environment["PATH"] = f"{labs.PYTHON_BIN}:{environment['PATH']}"
    for block in blocks:
        labs.run(["sh", "-ec", re.sub(r"\bdocker\b", program, block)], env=environment, cwd=tmp_path)
    assert root_of(root_lab) == (tmp_path / "root.pem").read_text().strip() != before
    assert root_lab.get("/swarm")["Spec"]["CAConfig"]["NodeCertExpiry"] == 240 * 3600 * 10**9
    assert set(tls_status(root_lab).values()) == {"Ready"}
