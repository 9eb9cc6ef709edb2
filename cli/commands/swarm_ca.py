"""``covey swarm ca``: displays the root CA, or rotates it and shows the progress.

``root_rotation_progress`` judges the state that the daemon reports. The wait has no deadline; interrupting it does not stop the rotation.
"""

import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from cli import options
from cli.client import DaemonClient, DaemonError, UnreachableError
from cli.command import command, option
from cli.polling import INTERRUPTED, POLL_SECONDS, UnavailableTimeout
from covey.errors import CoveyError, InvalidArgumentError
from covey.quantities import parse_duration

MAX_NAMED = 5
NEW_BACKUP_NOTICE = (
    "Take a new backup now (covey swarm backup): an older one restores the old root CA, which nodes no longer trust."
)


class RootRotationProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a rotation. ``waiting`` names the nodes whose certificate is not issued by the new root yet."""

    digest: str
    nodes: int
    certificates: int
    roots: int
    done: bool
    waiting: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        held = f" (waiting for {_name_list(self.waiting)})" if self.waiting else ""
        return (
            f"desired root digest: {self.digest}",
            f"  rotated TLS certificates: {self.certificates}/{self.nodes} nodes{held}",
            f"  rotated CA certificates: {self.roots}/{self.nodes} nodes",
        )


def root_rotation_progress(swarm: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> RootRotationProgress:
    """The progress from /swarm and /nodes. As in docker, CA certificates count only after all TLS certificates have rotated."""
    root_info = swarm.get("TLSInfo") or {}
    own = [(node["Description"].get("TLSInfo") or {}) for node in nodes]
    issued = [_issuer(tls) == _issuer(root_info) for tls in own]
    in_progress = bool(swarm.get("RootRotationInProgress"))
    roots = 0 if in_progress else sum(tls.get("TrustRoot") == root_info.get("TrustRoot") for tls in own)
    return RootRotationProgress(
        digest=f"sha256:{hashlib.sha256(root_info.get('TrustRoot', '').encode()).hexdigest()}",
        nodes=len(nodes),
        certificates=sum(issued),
        roots=roots,
        done=not in_progress and all(issued) and roots == len(nodes),
        waiting=tuple(_node_label(node) for node, right in zip(nodes, issued, strict=True) if not right),
    )


@command()
@option("--rotate", is_flag=True, help="Rotate the swarm CA, to a new certificate if none is provided")
@option(
    "--ca-cert",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="pem-file",
    help="Path to the PEM-formatted root CA certificate to use",
)
@option(
    "--ca-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="pem-file",
    help="Path to the PEM-formatted root CA key to use",
)
@option("--cert-expiry", metavar="duration", default_text="2160h0m0s", help="Validity period for node certificates")
@option("--external-ca", multiple=True, metavar="external-ca", help="Certificate signing endpoints")
@option("-d", "--detach", is_flag=True, help="Exit immediately instead of waiting for the root rotation to converge")
@option("-q", "--quiet", is_flag=True, help="Suppress progress output")
def ca(
    *,
    rotate: bool,
    ca_cert: Path | None,
    ca_key: Path | None,
    cert_expiry: str | None,
    external_ca: tuple[str, ...],
    detach: bool,
    quiet: bool,
) -> None:
    """Display and rotate the root CA."""
    daemon = options.client()
    settings = {"ca-cert": ca_cert, "ca-key": ca_key, "cert-expiry": cert_expiry, "external-ca": external_ca}
    if not rotate:
        for flag, value in settings.items():
            if value:
                raise click.UsageError(f"--{flag} needs --rotate")
        _show(daemon)
        return
    if external_ca and not ca_cert:
        raise click.UsageError(
            "rotating to an external CA needs --ca-cert with the external CA's certificate; "
            "to add one for the current root use covey swarm update --external-ca"
        )
    if ca_cert and not (ca_key or external_ca):
        raise click.UsageError("--ca-cert needs --ca-key, or --external-ca")
    if ca_key and not ca_cert:
        raise click.UsageError("--ca-key needs --ca-cert")
    cluster = daemon.get("/swarm")
    spec = _updated_spec(cluster["Spec"], ca_cert, ca_key, cert_expiry, external_ca)
    daemon.post("/swarm/update", {"version": cluster["Version"]["Index"]}, spec)
    if detach:
        return
    code = _wait_for_rotation(daemon, quiet=quiet)
    if code:
        sys.exit(code)
    if not quiet:
        _show(daemon)
        if _root(daemon.get("/swarm")) != _root(cluster):
            click.echo(NEW_BACKUP_NOTICE, err=True)


def parse_external_ca(text: str) -> dict[str, Any]:
    """``protocol=cfssl,url=https://HOST/PATH[,cacert=FILE]`` as an ExternalCA of the API."""
    result: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            raise InvalidArgumentError(f"invalid field {part!r} of --external-ca: it must be KEY=VALUE")
        match key:
            case "protocol" if value.lower() == "cfssl":
                result["Protocol"] = "cfssl"
            case "protocol":
                raise InvalidArgumentError(f"unrecognized external CA protocol {value}")
            case "url":
                result["URL"] = value
            case "cacert":
                result["CACert"] = _read(Path(value))
            case _:
                result.setdefault("Options", {})[key] = value
    for key, name in (("Protocol", "protocol"), ("URL", "url")):
        if not result.get(key):
            raise InvalidArgumentError(f"the external-ca option needs a {name}= parameter")
    return result


def _updated_spec(
    spec: Mapping[str, Any],
    ca_cert: Path | None,
    ca_key: Path | None,
    cert_expiry: str | None,
    external_ca: Sequence[str],
) -> dict[str, Any]:
    authority = dict(spec.get("CAConfig") or {})
    if cert_expiry:
        authority["NodeCertExpiry"] = parse_duration(cert_expiry)
    if ca_cert:
        authority["SigningCACert"] = _read(ca_cert)
        authority["SigningCAKey"] = _read(ca_key) if ca_key else ""
    else:
        authority["ForceRotate"] = authority.get("ForceRotate", 0) + 1
    if external_ca:
        root = {"CACert": authority["SigningCACert"]}
        authority["ExternalCAs"] = [root | parse_external_ca(text) for text in external_ca]
    return {**spec, "CAConfig": authority}


def _read(path: Path) -> str:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"cannot read {path}: {error}") from error
    if "-----BEGIN " not in text:
        raise InvalidArgumentError(f"{path} must be in PEM format")
    return text


def _wait_for_rotation(daemon: DaemonClient, *, quiet: bool) -> int:
    shown: set[str] = set()
    patience = UnavailableTimeout()
    try:
        while True:
            try:
                progress = root_rotation_progress(daemon.get("/swarm"), daemon.get("/nodes"))
            except (DaemonError, UnreachableError) as error:
                patience.check(error)
                time.sleep(POLL_SECONDS)
                continue
            patience = UnavailableTimeout()
            for line in () if quiet else progress.lines:
                if line not in shown:
                    shown.add(line)
                    click.echo(line)
            if progress.done:
                return 0
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        click.echo(
            "Interrupted. The rotation continues in the background. See its progress with: covey node ls", err=True
        )
        return INTERRUPTED


def _root(swarm: Mapping[str, Any]) -> str:
    return str((swarm.get("TLSInfo") or {}).get("TrustRoot", ""))


def _show(daemon: DaemonClient) -> None:
    root = _root(daemon.get("/swarm"))
    if not root:
        raise CoveyError("No CA information available")
    click.echo(root.strip())


def _issuer(tls: Mapping[str, Any]) -> tuple[str, str]:
    return tls.get("CertIssuerSubject", ""), tls.get("CertIssuerPublicKey", "")


def _node_label(node: Mapping[str, Any]) -> str:
    name = node["Description"].get("Hostname") or node["ID"]
    state = (node.get("Status") or {}).get("State", "")
    return name if state == "ready" else f"{name} ({state})"


def _name_list(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return "; ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
