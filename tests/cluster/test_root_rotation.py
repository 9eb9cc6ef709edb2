"""The root is rotated by the real docker client on real hosts, while the cluster is written to: nothing is refused and nobody is lost."""

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
from tests.support.labs import Cluster, Ran, wait

pytestmark = pytest.mark.root
LOOKS = "looks"
PROGRAMS = {"docker": "docker", "covey": str(labs.PYTHON_BIN / "covey")}
by_docker_and_covey = pytest.mark.parametrize("program", PROGRAMS)


@pytest.fixture(scope="module")
def rooted() -> Iterator[Cluster]:
    with labs.made("root", 3, 2) as found:
        yield found


class Load:
    """Writes and reads through every manager, and a look at the nodes, until the block ends. What went wrong is kept, refused connections
    too; ``done`` counts what each did, so that one that stands still is noticed although others go on.
    """

    def __init__(self, lab: Cluster) -> None:
        self.lab = lab
        self.done = dict.fromkeys([*(host.name for host in lab.managers), LOOKS], 0)
        self.wrong: list[Any] = []
        self._stop = threading.Event()

    def _write(self, host: LabHost) -> None:
        body = {"Name": f"{host.name}-{time.monotonic_ns()}", "Data": "eA=="}
        status, answer = self.lab.request("POST", "/configs/create", body, on=host)
        if status == http.client.CREATED:
            status, answer = self.lab.request("DELETE", f"/configs/{answer['ID']}", on=host)
        if status != http.client.NO_CONTENT:
            self.wrong.append((host.name, status, answer))

    def _look(self, host: LabHost) -> None:
        for name, node in self.lab.nodes(on=host).items():
            if node["Status"]["State"] != "ready":
                self.wrong.append((name, node["Status"]))

    def _go_on(self, who: str, what: Callable[[LabHost], None], host: LabHost, pause_seconds: float) -> None:
        while not self._stop.wait(pause_seconds):
            try:
                what(host)
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append((who, repr(error)))
                self._stop.wait(0.05)
            else:
                self.done[who] += 1

    def more(self, count: int) -> None:
        """Until each has done so much more, or something is wrong."""
        wanted = {who: done + count for who, done in self.done.items()}
        wait(
            lambda: self.wrong or all(self.done[who] >= least for who, least in wanted.items()), f"work up to {wanted}"
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        last = self.lab.managers[-1]
        with ThreadPoolExecutor(len(self.done)) as pool:
            working = [pool.submit(self._go_on, host.name, self._write, host, 0) for host in self.lab.managers]
            working.append(pool.submit(self._go_on, LOOKS, self._look, last, 0.05))
            try:
                yield
            finally:
                self._stop.set()
        for one in working:
            one.result()
        assert not self.wrong, self.wrong[:5]


def ran(lab: Cluster, program: str, *arguments: str, check: int = 0) -> Ran:
    """What a user types, by docker or by covey."""
    return labs.run([PROGRAMS[program], *arguments], check=check, env=lab.environment())


def root_of(lab: Cluster) -> str:
    return lab.docker("swarm", "ca").out.strip()


def trusted(host: LabHost) -> str:
    return (host.state_dir / "identity" / "root.crt").read_text().strip()


def issuer_ids(lab: Cluster) -> dict[str, bytes]:
    """By host, the key identifier of who signed its certificate."""
    found = {}
    for host in lab.hosts:
        leaf = x509.load_pem_x509_certificate((host.state_dir / "identity" / "node.crt").read_bytes())
        found[host.name] = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return found


def sessions(lab: Cluster) -> int:
    return sum(host.log.read_text().count("began session") for host in lab.hosts)


def tls_status(lab: Cluster) -> dict[str, str]:
    lines = lab.docker("node", "ls", "--format", "{{.Hostname}} {{.TLSStatus}}").lines
    return dict(line.split(" ", 1) for line in lines)


def test_a_rotation_under_load_refuses_nothing_and_loses_nobody(rooted: Cluster) -> None:
    before, began = root_of(rooted), sessions(rooted)
    load = Load(rooted)
    with load.running():
        load.more(5)
        for program in ("docker", "covey", "docker"):
            said = ran(rooted, program, "swarm", "ca", "--rotate").out
            after = root_of(rooted)
            assert after != before
            assert said.strip().endswith(after)
            assert "desired root digest: sha256:" in said
            before = after
            load.more(5)
    for host in rooted.hosts:
        wait(lambda host=host: trusted(host) == after, f"{host.name} trusts the new root alone")
    assert len(set(issuer_ids(rooted).values())) == 1
    assert set(tls_status(rooted).values()) == {"Ready"}
    assert sessions(rooted) == began, "no agent lost its session"
    token = rooted.docker("swarm", "join-token", "-q", "worker").out.strip()
    assert jointoken.parse(token).digest == jointoken.root_digest(after.encode())
    info = json.loads(rooted.docker("info", "--format", "{{json .Swarm.Cluster}}").out)
    assert (info["RootRotationInProgress"], info["TLSInfo"]["TrustRoot"].strip()) == (False, after)
    pretty = rooted.docker("node", "inspect", "--pretty", rooted.workers[0].name).out
    assert "TLS Info:" in pretty
    assert after.splitlines()[1] in pretty


def test_a_node_that_is_off_holds_it_up_is_named_and_comes_back_into_the_new_root(rooted: Cluster) -> None:
    """A worker is off while the others renew; the leader dies in the midst, and its successor ends what it began."""
    worker = rooted.workers[1]
    rooted.kill(worker)
    rooted.docker("swarm", "ca", "--rotate", "--detach")
    one = rooted.managers[0]

    def held() -> bool:
        statuses = tls_status(rooted)
        return {name for name, status in statuses.items() if status != "Ready"} == {worker.name}

    wait(held, "only the host that is off has not renewed")
    shown = rooted.get("/swarm", on=one)
    assert shown["RootRotationInProgress"]
    assert shown["TLSInfo"]["TrustRoot"].count("BEGIN CERTIFICATE") == 2
    leader = rooted.leader()
    assert leader is not None
    rooted.kill(leader)
    rooted.wait_leader(but=leader, on=next(host for host in rooted.managers if host != leader))
    rooted.start(leader, worker)
    wait(lambda: not rooted.get("/swarm")["RootRotationInProgress"], "the rotation is complete")
    after = root_of(rooted)
    for host in rooted.hosts:
        wait(lambda host=host: trusted(host) == after, f"{host.name} trusts the new root alone")
    rooted.wait_ready()


def test_a_persons_own_root_is_taken_with_another_life_and_covey_shows_how_it_goes(
    rooted: Cluster, tmp_path: Path
) -> None:
    own = certificates.create_root("our company", time.time_ns())
    for name, pem in (("root.pem", own.cert), ("root.key", own.key)):
        (tmp_path / name).write_bytes(pem)
    other = certificates.create_root("another", time.time_ns())
    (tmp_path / "other.key").write_bytes(other.key)
    files = ("--ca-cert", str(tmp_path / "root.pem"), "--ca-key")
    refused = rooted.docker("swarm", "ca", "--rotate", *files, str(tmp_path / "other.key"), check=1)
    assert "do not match" in refused.err
    assert not rooted.get("/swarm")["RootRotationInProgress"]
    command = ["swarm", "ca", "--rotate", "--cert-expiry", "30h", *files, str(tmp_path / "root.key")]
    said = ran(rooted, "covey", *command).out
    assert f"rotated TLS certificates: {len(rooted.hosts)}/{len(rooted.hosts)} nodes" in said
    assert said.strip().endswith(own.cert.decode().strip())
    assert root_of(rooted) == own.cert.decode().strip()
    spec = rooted.get("/swarm")["Spec"]["CAConfig"]
    assert spec["NodeCertExpiry"] == 30 * 3600 * 10**9
    assert not {"SigningCACert", "SigningCAKey"} & spec.keys()
    for host in rooted.hosts:
        leaf = x509.load_pem_x509_certificate((host.state_dir / "identity" / "node.crt").read_bytes())
        assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() == 31 * 3600
    rooted.docker("swarm", "update", "--cert-expiry", "5h")

    def shorter() -> bool:
        leaf = x509.load_pem_x509_certificate((rooted.workers[0].state_dir / "identity" / "node.crt").read_bytes())
        return (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() == 6 * 3600

    wait(shorter, "a shorter life is taken up")


@contextmanager
def cfssl(on: LabHost, folder: Path, root: RootPair, clients: bytes) -> Iterator[str]:
    """A cfssl on a host of the lab; its URL as all of them reach it."""
    external_ca.prepare(folder, root, clients, addr=on.address)
    until_stdin_ends = ["sh", "-c", '"$@" & cat > /dev/null; kill $!; wait', "sh"]
    command = machine.command_inside(on, [*until_stdin_ends, *external_ca.command(folder, on.address, 8888)])
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdin is not None
        try:
            wait(lambda: b"Now listening" in (folder / "log").read_bytes(), "cfssl listens")
            yield f"https://{on.address}:8888/api/v1/cfssl/sign"
        finally:
            process.stdin.close()
            process.wait(10)


@by_docker_and_covey
def test_an_external_ca_signs_for_all_hosts_and_the_key_comes_home(
    rooted: Cluster, tmp_path: Path, program: str
) -> None:
    """By docker's own flags, to a root whose key is with cfssl; then the key is given to the cluster, and nothing needs to rotate."""
    outside = certificates.create_root("outside", time.time_ns())
    cert, key = tmp_path / "root.pem", tmp_path / "root.key"
    cert.write_bytes(outside.cert)
    key.write_bytes(outside.key)
    with cfssl(rooted.workers[0], tmp_path / "ca", outside, root_of(rooted).encode() + b"\n" + outside.cert) as url:
        where = f"protocol=cfssl,url={url}"
        ran(rooted, program, "swarm", "ca", "--rotate", "--ca-cert", str(cert), "--external-ca", where)
        assert root_of(rooted) == outside.cert.decode().strip()
        assert set(tls_status(rooted).values()) == {"Ready"}
        (shown,) = rooted.get("/swarm")["Spec"]["CAConfig"]["ExternalCAs"]
        assert shown["URL"] == url
        before = issuer_ids(rooted)
        assert len(set(before.values())) == 1
    refused = ran(rooted, program, "swarm", "ca", "--rotate", check=1).err
    assert "must be cross-signed by the current one" in refused
    assert url in refused
    said = ran(rooted, program, "swarm", "ca", "--rotate", "--ca-cert", str(cert), "--ca-key", str(key)).out
    assert said.strip().endswith(outside.cert.decode().strip())
    assert issuer_ids(rooted) == before
    ran(rooted, program, "swarm", "ca", "--rotate", "--quiet")
    assert root_of(rooted) != outside.cert.decode().strip()


@by_docker_and_covey
def test_the_guides_commands_do_what_it_says(rooted: Cluster, tmp_path: Path, program: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "guides" / "certificates.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == page.count("```sh") >= 4
    before = root_of(rooted)
    environment = rooted.environment()
    environment["PATH"] = f"{labs.PYTHON_BIN}:{environment['PATH']}"
    for block in blocks:
        labs.run(["sh", "-ec", re.sub(r"\bdocker\b", program, block)], env=environment, cwd=tmp_path)
    assert root_of(rooted) == (tmp_path / "root.pem").read_text().strip() != before
    assert rooted.get("/swarm")["Spec"]["CAConfig"]["NodeCertExpiry"] == 240 * 3600 * 10**9
    assert set(tls_status(rooted).values()) == {"Ready"}
