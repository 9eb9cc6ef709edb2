"""Real registries on loopback for tests: Debian's docker-registry, plain, or with TLS and a password, or with a token server."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.ports import free_ports

START_SECONDS = 20
USER, PASSWORD = "joe", "secret"


class TestRegistry(msgspec.Struct):
    """A running registry. `host` is HOST:PORT, as image names have it."""

    __test__ = False

    host: str
    folder: Path
    url: str
    ca: Path | None = None
    auth: tuple[str, str] | None = None

    async def request(self, method: str, path: str, **options: object) -> tuple[int, bytes]:
        """One request to the registry itself. Returns status and body."""
        options.setdefault("ssl", False)
        if self.auth is not None:
            options.setdefault("headers", {"Authorization": aiohttp.encode_basic_auth(*self.auth)})
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path, **options) as response:
            return response.status, await response.read()

    async def skopeo(self, *arguments: str) -> str:
        """Run skopeo with this registry's credentials and CA. Returns stdout."""
        flags = [] if self.ca is None else ["--cert-dir", str(self.ca.parent)]
        if self.ca is None:
            flags = ["--tls-verify=false"]
        creds = ["--creds", ":".join(self.auth)] if self.auth else []
        verb, *rest = arguments
        return await run("skopeo", verb, *flags, *creds, *rest)

    async def push_archive(self, archive: Path, name: str, *flags: str) -> None:
        """Push a `docker save` archive as NAME with skopeo."""
        side = ["--dest-tls-verify=false"] if self.ca is None else ["--dest-cert-dir", str(self.ca.parent)]
        creds = ["--dest-creds", ":".join(self.auth)] if self.auth else []
        await run(
            "skopeo", "copy", "-q", *side, *creds, *flags, f"docker-archive:{archive}", f"docker://{self.host}/{name}"
        )


async def run(*command: str, check: bool = True) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    if check:
        assert process.returncode == 0, (command, err.decode())
    return out.decode()


@contextlib.asynccontextmanager
async def registry(
    folder: Path, *, tls: bool = False, password: bool = False, token_realm: tuple[str, Path] | None = None
) -> AsyncIterator[TestRegistry]:
    """Run a registry with its data below the folder. `token_realm` is the URL of a token server and its certificate."""
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    host = f"127.0.0.1:{port}"
    http: dict[str, object] = {"addr": host, "relativeurls": False}
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": http,
    }
    ca = None
    if tls:
        ca, certificate, key = certificates(folder / "tls")
        http["tls"] = {"certificate": str(certificate), "key": str(key)}
    if password:
        (folder / "htpasswd").write_text(await run("htpasswd", "-Bbn", USER, PASSWORD))
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    if token_realm is not None:
        realm, bundle = token_realm
        config["auth"] = {
            "token": {
                "realm": realm,
                "service": "test-registry",
                "issuer": "test-issuer",
                "rootcertbundle": str(bundle),
            }
        }
    (folder / "config.yml").write_text(json.dumps(config))  # YAML reads JSON
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "docker-registry", "serve", str(folder / "config.yml"), stdout=log, stderr=log,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )  # fmt: skip
    try:
        made = TestRegistry(
            host, folder, f"{'https' if tls else 'http'}://{host}", ca, (USER, PASSWORD) if password else None
        )
        await _wait_until_it_answers(made, process)
        yield made
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def _wait_until_it_answers(made: TestRegistry, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            assert process.returncode is None, (made.folder / "log").read_text()
            with contextlib.suppress(aiohttp.ClientError, OSError):
                await made.request("GET", "/v2/", headers={})
                return
            await asyncio.sleep(0.02)


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """A CA (`ca.crt`), and a certificate and key for 127.0.0.1 and localhost."""
    folder.mkdir(parents=True, exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test registry CA")])

    def builder(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder().subject_name(name).issuer_name(ca_name).public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5)).not_valid_after(now + dt.timedelta(days=2))
        )  # fmt: skip

    ca = (
        builder(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(ca_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    leaf = builder(leaf_name, key.public_key()).add_extension(names, False).sign(ca_key, hashes.SHA256())
    (folder / "ca.crt").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    (folder / "server-key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "ca.crt", folder / "server.pem", folder / "server-key.pem"
