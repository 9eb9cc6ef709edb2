"""Certificates of an Engine API on TCP, with the names that the docker client expects: a CA, a server's, a client's, a foreign client's."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def make_tls_files(folder: Path) -> None:
    folder.mkdir(parents=True)
    _openssl(folder, "req", "-x509", *_KEY, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=test CA")
    _openssl(
        folder, "req", "-x509", *_KEY, "-keyout", "foreign-key.pem", "-out", "foreign-cert.pem", "-subj", "/CN=foreign"
    )
    _sign(folder, "server-", "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth")
    _sign(folder, "", "extendedKeyUsage=clientAuth")


def _sign(folder: Path, prefix: str, extensions: str) -> None:
    (folder / "extensions").write_text(extensions)
    request = f"{prefix}request.pem"
    _openssl(folder, "req", *_KEY, "-keyout", f"{prefix}key.pem", "-out", request, "-subj", f"/CN={prefix}test")
    _openssl(
        folder, "x509", "-req", "-in", request, "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
        "-out", f"{prefix}cert.pem", "-extfile", "extensions",
    )  # fmt: skip


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
