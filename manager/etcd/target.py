"""Target of ``coveyd --store``: endpoints, prefix and TLS files of an etcd. Read by the daemon and the manager; does not import gRPC.

Invariant: an unusable value is refused by the option's name before anything starts.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from covey.errors import InvalidArgumentError, UnsupportedError

DEFAULT_PREFIX = "/covey"
MAX_PREFIX = 64
MAX_ENDPOINTS = 16
KEY_FILE = "store.key"
"""File of the store key, beside the node's identity. The daemon deletes it when the node stops being a manager."""
FORM = "etcd://HOST:PORT[,HOST:PORT...][/PREFIX]"
_ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})\Z")
_PREFIX = re.compile(r"(/[A-Za-z0-9._-]+)+\Z")


class EtcdTarget(msgspec.Struct, frozen=True, kw_only=True):
    """``prefix`` starts with a slash and does not end with one. The three files are paths, or empty."""

    endpoints: tuple[str, ...]
    prefix: str = DEFAULT_PREFIX
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def __str__(self) -> str:
        return f"{'etcds' if self.tls else 'etcd'}://{','.join(self.endpoints)}{self.prefix}"


def parse_location(store: str) -> EtcdTarget:
    """Parses ``--store``.

    Raises:
        InvalidArgumentError: the value is invalid; UnsupportedError: it contains a password.
    """
    scheme, found, rest = store.partition("://")
    if not found or scheme not in {"etcd", "etcds"}:
        raise InvalidArgumentError(f"--store {store}: a store outside of the managers is {FORM}")
    hosts, slash, path = rest.partition("/")
    if "@" in hosts:
        raise UnsupportedError(
            "--store: users and passwords of etcd are not supported yet: use certificates (--store-cert, --store-key)"
        )
    endpoints = tuple(hosts.split(","))
    for endpoint in endpoints:
        match = _ENDPOINT.match(endpoint)
        if match is None or not 0 < int(match[2]) < 1 << 16:
            raise InvalidArgumentError(f"--store {store}: {endpoint!r} is not HOST:PORT; the form is {FORM}")
    if len(endpoints) > MAX_ENDPOINTS or len(set(endpoints)) < len(endpoints):
        raise InvalidArgumentError(f"--store {store}: name each endpoint once, and at most {MAX_ENDPOINTS}")
    prefix = f"/{path.strip('/')}" if slash and path.strip("/") else DEFAULT_PREFIX
    if len(prefix) > MAX_PREFIX or not _PREFIX.match(prefix):
        raise InvalidArgumentError(
            f"--store {store}: a prefix is up to {MAX_PREFIX - 1} letters, digits, dots, dashes, underlines and slashes"
        )
    return EtcdTarget(endpoints=endpoints, prefix=prefix, tls=scheme == "etcds")


def parse(store: str, *, ca_file: str = "", cert_file: str = "", key_file: str = "") -> EtcdTarget:
    """Parses ``--store``, ``--store-ca``, ``--store-cert`` and ``--store-key``.

    Raises:
        InvalidArgumentError: a value is invalid; UnsupportedError: a password is given. Both name the option.
    """
    location = parse_location(store)
    if bool(cert_file) != bool(key_file):
        raise InvalidArgumentError("--store-cert and --store-key belong together: give both or none")
    if cert_file and not ca_file:
        raise InvalidArgumentError(
            "--store-cert needs --store-ca: the certificate authority of etcd's own certificates"
        )
    if location.tls and not ca_file:
        raise InvalidArgumentError(
            "an etcds:// store needs --store-ca: the certificate authority of etcd's certificates"
        )
    return msgspec.structs.replace(location, tls=bool(ca_file), ca_file=ca_file, cert_file=cert_file, key_file=key_file)


def remove_store_key(identity_dir: Path) -> None:
    """Deletes the store key after this node stopped being a manager."""
    (identity_dir / KEY_FILE).unlink(missing_ok=True)
