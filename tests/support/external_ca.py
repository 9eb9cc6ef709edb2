"""External CA for tests: folder, policy and command line of a real cfssl (Debian package golang-cfssl)."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from manager.ca import certificates
from manager.ca.certificates import RootPair

NODES = {"expiry": "48h", "usages": ["digital signature", "server auth", "client auth"]}
ROOTS = {
    "expiry": "8760h",
    "usages": ["cert sign", "crl sign"],
    "ca_constraint": {"is_ca": True, "max_path_len": 0, "max_path_len_zero": True},
}


def server_certificate(root: RootPair, addr: str) -> tuple[bytes, bytes]:
    """Certificate and key of a server at this address, signed by the root."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(root.cert)
    signed = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(issuer.subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_before_utc + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(addr))]), critical=True)
        .sign(certificates.signing_key(root.key), hashes.SHA256())
    )  # fmt: skip
    return signed.public_bytes(serialization.Encoding.PEM), certificates.key_pem(key)


def prepare(
    folder: Path, root: RootPair, clients: bytes, usages: Sequence[str] = (), *, addr: str = "127.0.0.1"
) -> None:
    """Write all files of a cfssl that signs with the root and accepts clients with a certificate of the ``clients`` roots."""
    folder.mkdir()
    policy = {"signing": {"default": {**NODES, **({"usages": usages} if usages else {})}, "profiles": {"CA": ROOTS}}}
    cert, key = server_certificate(root, addr)
    for name, data in (
        ("ca.pem", root.cert), ("ca.key", root.key), ("tls.pem", cert), ("tls.key", key), ("clients.pem", clients),
        ("policy.json", json.dumps(policy).encode()),
    ):  # fmt: skip
        (folder / name).write_bytes(data)


def command(folder: Path, addr: str, port: int, *, mutual: bool = True) -> list[str]:
    """Command line of cfssl, which prints "Now listening" to stderr. Without ``mutual`` it requires no client certificate."""
    files = {
        "-ca": "ca.pem", "-ca-key": "ca.key", "-config": "policy.json",
        "-tls-cert": "tls.pem", "-tls-key": "tls.key", **({"-mutual-tls-ca": "clients.pem"} if mutual else {}),
    }  # fmt: skip
    options = [word for flag, name in files.items() for word in (flag, str(folder / name))]
    return ["cfssl", "serve", "-address", addr, "-port", str(port), *options]
