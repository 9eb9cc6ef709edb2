"""Real etcd members as processes on loopback: started, killed, paused and resumed one by one.

Every process is ended through its handle and its folder removed, even if the test fails. ``with etcd_cluster(3) as etcd``:
``etcd.store()`` is the value for ``coveyd --store``.
"""

import contextlib
import datetime as dt
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.ports import free_ports

READY_SECONDS = 30.0
HOST = "127.0.0.1"


class EtcdProcess:
    """One etcd process. Its data survive a kill."""

    def __init__(self, name: str, folder: Path, client_port: int, peer_port: int) -> None:
        self.name = name
        self.folder = folder
        self.client_port = client_port
        self.peer_port = peer_port
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"{HOST}:{self.client_port}"

    @property
    def peer(self) -> str:
        return f"{self.name}=http://{HOST}:{self.peer_port}"


class EtcdCluster:
    """etcd members. With ``tls``, clients need certificates; it is the folder of ca.pem, server.pem, server.key, client.pem and client.key."""

    def __init__(self, folder: Path, size: int, *, tls: bool = False, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.tls = make_certificates(folder / "tls") if tls else None
        self._options = tuple(options)
        self._token = secrets.token_hex(4)
        ports = free_ports(2 * size)
        self.members = [EtcdProcess(f"m{n}", folder / f"m{n}", ports[2 * n], ports[2 * n + 1]) for n in range(size)]

    @property
    def endpoints(self) -> list[str]:
        return [member.endpoint for member in self.members]

    def store(self, prefix: str = "/covey") -> str:
        return f"etcd://{','.join(self.endpoints)}{prefix}"

    def start(self, *members: EtcdProcess) -> None:
        """Start these members, or all, and wait until they answer."""
        chosen = members or tuple(self.members)
        for member in chosen:
            self._spawn(member)
        for member in chosen:
            self._wait_ready(member)

    def kill(self, member: EtcdProcess) -> None:
        if member.process is not None:
            with contextlib.suppress(ProcessLookupError):
                member.process.kill()
            member.process.wait()
            member.process = None

    def pause(self, member: EtcdProcess) -> None:
        """Pause the process: its ports accept connections and nothing answers. Returns once all its threads have stopped."""
        assert member.process is not None
        os.kill(member.process.pid, signal.SIGSTOP)
        deadline = time.monotonic() + 5
        while not _all_threads_stopped(member.process.pid):
            assert time.monotonic() < deadline, f"etcd process {member.process.pid} did not stop within 5 s"

    def resume(self, member: EtcdProcess) -> None:
        assert member.process is not None
        os.kill(member.process.pid, signal.SIGCONT)

    def restore(self, snapshot: Path) -> None:
        """Stop all members and start them from the snapshot, at the same addresses."""
        for member in self.members:
            self.kill(member)
            shutil.rmtree(member.folder / "data")
            subprocess.run(
                [
                    "etcdctl", "snapshot", "restore", str(snapshot), "--name", member.name, "--data-dir", str(member.folder / "data"),
                    "--initial-advertise-peer-urls", f"http://{HOST}:{member.peer_port}",
                    "--initial-cluster", ",".join(one.peer for one in self.members), "--initial-cluster-token", self._token,
                ],
                env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, timeout=30, check=True,
            )  # fmt: skip
        self.start()

    def close(self) -> None:
        for member in self.members:
            self.kill(member)

    def ctl(self, *arguments: str, check: bool = True) -> str:
        """Output of etcdctl with all endpoints."""
        scheme = "https" if self.tls else "http"
        options = [f"--endpoints={','.join(f'{scheme}://{one}' for one in self.endpoints)}"]
        if self.tls:
            options += [f"--cacert={self.tls}/ca.pem", f"--cert={self.tls}/client.pem", f"--key={self.tls}/client.key"]
        done = subprocess.run(
            ["etcdctl", *options, *arguments],
            env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, errors="replace", timeout=30, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def _spawn(self, member: EtcdProcess) -> None:
        scheme = "https" if self.tls else "http"
        member.folder.mkdir(parents=True, exist_ok=True)
        command = [
            "etcd", "--name", member.name, "--data-dir", str(member.folder / "data"),
            "--listen-client-urls", f"{scheme}://{member.endpoint}", "--advertise-client-urls", f"{scheme}://{member.endpoint}",
            "--listen-peer-urls", f"http://{HOST}:{member.peer_port}",
            "--initial-advertise-peer-urls", f"http://{HOST}:{member.peer_port}",
            "--initial-cluster", ",".join(one.peer for one in self.members),
            "--initial-cluster-token", self._token, "--log-level", "error", *self._options,
        ]  # fmt: skip
        if self.tls:
            command += ["--cert-file", f"{self.tls}/server.pem", "--key-file", f"{self.tls}/server.key"]
            command += ["--client-cert-auth", "--trusted-ca-file", f"{self.tls}/ca.pem"]
        with (member.folder / "log").open("ab") as log:
            member.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _wait_ready(self, member: EtcdProcess) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            assert member.process is not None
            text = (member.folder / "log").read_text(errors="replace")[-2000:]
            assert member.process.poll() is None, f"etcd {member.name} ended:\n{text}"
            scheme = "https" if self.tls else "http"
            options = [f"--endpoints={scheme}://{member.endpoint}", "--command-timeout=1s"]
            if self.tls:
                options += [
                    f"--cacert={self.tls}/ca.pem",
                    f"--cert={self.tls}/client.pem",
                    f"--key={self.tls}/client.key",
                ]
            done = subprocess.run(
                ["etcdctl", *options, "get", "ready"],
                env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, timeout=10, check=False,
            )  # fmt: skip
            if done.returncode == 0:
                return
            assert time.monotonic() < deadline, f"etcd {member.name} does not answer: {done.stderr!r}\n{text}"


@contextlib.contextmanager
def etcd_cluster(size: int = 1, *, tls: bool = False, options: Sequence[str] = ()) -> Iterator[EtcdCluster]:
    """Run ``size`` members in a new folder, which is removed at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="covey-etcd-"))
    cluster = EtcdCluster(folder, size, tls=tls, options=options)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


def make_certificates(folder: Path) -> Path:
    """Create a CA, a server certificate for 127.0.0.1 and a client certificate. Returns the folder."""
    folder.mkdir(parents=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "etcd of a test")])

    def issue(common_name: str, key: ec.EllipticCurvePrivateKey, *, authority: bool = False) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(ca_name if authority else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST)), x509.DNSName("localhost")])
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
            builder = builder.add_extension(names, critical=False).add_extension(usage, critical=False)
        return builder.sign(ca_key, hashes.SHA256())

    (folder / "ca.pem").write_bytes(issue("", ca_key, authority=True).public_bytes(serialization.Encoding.PEM))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        (folder / f"{name}.pem").write_bytes(issue(name, key).public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return folder


def _all_threads_stopped(pid: int) -> bool:
    """Whether the kernel shows every thread of the process as stopped; SIGSTOP takes effect some time after kill() returns."""
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(state == "T" for state in states)
