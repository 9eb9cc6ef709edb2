"""Command-line options of coveyd."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from covey.errors import InvalidArgumentError
from manager.etcd import target
from node.addresses import JOIN_PORT

MTLS_PORT = 2378


class DaemonOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``advertise_addr`` is what this host advertises when a user names nothing; empty: find it. ``labels`` are this host's own, for
    constraints such as ``engine.labels.disk==ssd``. ``store`` is where this node's manager keeps the cluster's state, empty: with itself;
    the three after it are files.
    """

    state_dir: Path
    run_dir: Path
    socket: Path
    cgroup_parent: str = "/covey"
    advertise_addr: str = ""
    join_port: int = JOIN_PORT
    mtls_port: int = MTLS_PORT
    labels: dict[str, str] = {}
    store: str = ""
    store_ca: str = ""
    store_cert: str = ""
    store_key: str = ""
    log_level: str = "info"


def parse(arguments: Sequence[str]) -> DaemonOptions:
    """The options of a command line; prints help and exits where asked.

    Raises:
        InvalidArgumentError: ``--host`` is no Unix socket, a label is none, or ``--store`` cannot be right.
    """
    parser = argparse.ArgumentParser(prog="coveyd", description="The daemon of a Covey host.")
    parser.add_argument(
        "--state-dir", type=Path, default=Path("/var/lib/covey"), help="what survives a reboot (%(default)s)"
    )
    parser.add_argument("--run-dir", type=Path, default=Path("/run/covey"), help="what does not; a tmpfs (%(default)s)")
    parser.add_argument("--host", default="", help="socket of the Engine API (unix://RUN_DIR/covey.sock)")
    parser.add_argument(
        "--cgroup-parent", default="/covey", help="below which containers' cgroups are made (%(default)s)"
    )
    parser.add_argument("--advertise-addr", default="", help="address that other hosts use, unless a command names one")
    parser.add_argument("--join-port", type=int, default=JOIN_PORT, help="port on which hosts join (%(default)s)")
    parser.add_argument("--mtls-port", type=int, default=MTLS_PORT, help="port between nodes (%(default)s)")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a label of this host, engine.labels.KEY in constraints",
    )
    parser.add_argument(
        "--store",
        default="",
        metavar=target.FORM,
        help="keep the cluster's state in an etcd instead of in the managers; the same for all managers",
    )
    parser.add_argument("--store-ca", default="", metavar="FILE", help="authority of etcd's certificates: TLS")
    parser.add_argument("--store-cert", default="", metavar="FILE", help="certificate that this host shows to etcd")
    parser.add_argument("--store-key", default="", metavar="FILE", help="its key")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    found = parser.parse_args(arguments)
    host = found.host or f"unix://{found.run_dir}/covey.sock"
    if not host.startswith("unix://"):
        raise InvalidArgumentError(
            f"--host {host}: only unix:// sockets are served; TCP with client certificates is not there yet"
        )
    return DaemonOptions(
        state_dir=found.state_dir,
        run_dir=found.run_dir,
        socket=Path(host.removeprefix("unix://")),
        cgroup_parent=found.cgroup_parent,
        advertise_addr=found.advertise_addr,
        join_port=found.join_port,
        mtls_port=found.mtls_port,
        labels=_labels(found.label),
        **_store(found),
        log_level=found.log_level,
    )


def _store(found: argparse.Namespace) -> dict[str, str]:
    """The four options of a store outside of the managers, files by their whole paths.

    Raises:
        InvalidArgumentError: they do not fit together; UnsupportedError.
    """
    files = {name: getattr(found, name) for name in ("store_ca", "store_cert", "store_key")}
    if found.store:
        target.parse(found.store, ca_file=files["store_ca"], cert_file=files["store_cert"], key_file=files["store_key"])
    elif any(files.values()):
        raise InvalidArgumentError("--store-ca, --store-cert and --store-key go with --store: name the store")
    paths = {name: str(Path(file).absolute()) if file else "" for name, file in files.items()}
    return {"store": found.store, **paths}


def _labels(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (key, equals, _) in zip(texts, pairs, strict=True):
        if not (key and equals):
            raise InvalidArgumentError(f"--label {text}: a label is KEY=VALUE")
    if twice := sorted({key for key, _, _ in pairs if sum(key == other for other, _, _ in pairs) > 1}):
        raise InvalidArgumentError(f"--label {twice[0]} is given twice: give each key once")
    return {key: value for key, _, value in pairs}
