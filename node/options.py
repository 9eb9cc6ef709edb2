"""Command-line options of coveyd."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from covey.errors import InvalidArgumentError
from manager.interface import STORE_FORM, parse_store
from node.addresses import JOIN_PORT

MTLS_PORT = 2378
IMAGE_PORT = 7946
REGISTRIES_FILE = Path("/etc/covey/registries.toml")


class DaemonOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``advertise_addr`` is the default of ``--advertise-addr``; empty means to detect it. ``labels`` are for constraints such as
    ``engine.labels.disk==ssd``. ``store`` is where this node's manager stores the cluster's state; empty means Raft. The three
    ``store_`` fields are file paths.
    """

    state_dir: Path
    run_dir: Path
    socket: Path
    cgroup_parent: str = "/covey"
    advertise_addr: str = ""
    join_port: int = JOIN_PORT
    mtls_port: int = MTLS_PORT
    image_port: int = IMAGE_PORT
    labels: dict[str, str] = {}
    store: str = ""
    store_ca: str = ""
    store_cert: str = ""
    store_key: str = ""
    log_level: str = "info"
    registries_file: Path = REGISTRIES_FILE


def parse(arguments: Sequence[str]) -> DaemonOptions:
    """Parse a command line. With ``--help`` it prints help and exits.

    Raises:
        InvalidArgumentError: ``--host`` is not a Unix socket, a label is malformed, or ``--store`` is invalid.
    """
    parser = argparse.ArgumentParser(prog="coveyd", description="The daemon of a Covey host.")
    parser.add_argument(
        "--state-dir", type=Path, default=Path("/var/lib/covey"), help="persistent state (default %(default)s)"
    )
    parser.add_argument(
        "--run-dir", type=Path, default=Path("/run/covey"), help="runtime files, on a tmpfs (default %(default)s)"
    )
    parser.add_argument("--host", default="", help="Engine API socket (default unix://RUN_DIR/covey.sock)")
    parser.add_argument(
        "--cgroup-parent", default="/covey", help="parent cgroup of all containers (default %(default)s)"
    )
    parser.add_argument(
        "--advertise-addr", default="", help="address that other nodes use, if swarm init or join name none"
    )
    parser.add_argument(
        "--join-port", type=int, default=JOIN_PORT, help="port where new nodes join (default %(default)s)"
    )
    parser.add_argument("--mtls-port", type=int, default=MTLS_PORT, help="port between nodes (default %(default)s)")
    parser.add_argument(
        "--image-port",
        type=int,
        default=IMAGE_PORT,
        help="port where other nodes fetch images, 0 to serve none (default %(default)s)",
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="label of this host, engine.labels.KEY in constraints; can be repeated",
    )
    parser.add_argument(
        "--store",
        default="",
        metavar=STORE_FORM,
        help="store the cluster's state in etcd instead of the managers; must be the same on all managers",
    )
    parser.add_argument("--store-ca", default="", metavar="FILE", help="CA certificate of etcd; enables TLS")
    parser.add_argument("--store-cert", default="", metavar="FILE", help="client certificate for etcd")
    parser.add_argument("--store-key", default="", metavar="FILE", help="private key of the client certificate")
    parser.add_argument(
        "--registries-file",
        type=Path,
        default=REGISTRIES_FILE,
        metavar="FILE",
        help="mirrors, insecure registries and certificates (default %(default)s)",
    )
    parser.add_argument(
        "--log-level",
        default="info",
        choices=("debug", "info", "warning", "error"),
        help="minimum level of log messages (default %(default)s)",
    )
    parsed = parser.parse_args(arguments)
    host = parsed.host or f"unix://{parsed.run_dir}/covey.sock"
    if not host.startswith("unix://"):
        raise InvalidArgumentError(
            f"--host {host}: only unix:// sockets are supported; TCP with client certificates is not supported yet"
        )
    return DaemonOptions(
        state_dir=parsed.state_dir,
        run_dir=parsed.run_dir,
        socket=Path(host.removeprefix("unix://")),
        cgroup_parent=parsed.cgroup_parent,
        advertise_addr=parsed.advertise_addr,
        join_port=parsed.join_port,
        mtls_port=parsed.mtls_port,
        image_port=parsed.image_port,
        labels=_labels(parsed.label),
        **_store(parsed),
        log_level=parsed.log_level,
        registries_file=parsed.registries_file,
    )


def _store(parsed: argparse.Namespace) -> dict[str, str]:
    """The four options of an external store, with absolute file paths.

    Raises:
        InvalidArgumentError: they do not fit together; UnsupportedError: the URL has a password.
    """
    files = {name: getattr(parsed, name) for name in ("store_ca", "store_cert", "store_key")}
    if parsed.store:
        parse_store(parsed.store, ca_file=files["store_ca"], cert_file=files["store_cert"], key_file=files["store_key"])
    elif any(files.values()):
        raise InvalidArgumentError("--store-ca, --store-cert and --store-key need --store: name the store")
    paths = {name: str(Path(file).absolute()) if file else "" for name, file in files.items()}
    return {"store": parsed.store, **paths}


def _labels(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (key, equals, _) in zip(texts, pairs, strict=True):
        if not (key and equals):
            raise InvalidArgumentError(f"--label {text}: a label is KEY=VALUE")
    if twice := sorted({key for key, _, _ in pairs if sum(key == other for other, _, _ in pairs) > 1}):
        raise InvalidArgumentError(f"--label {twice[0]} is given twice: give each key once")
    return {key: value for key, _, value in pairs}
