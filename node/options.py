"""Options of coveyd: the command line and the configuration file, merged and checked.

Invariant: what is accepted is valid together; nothing is started before. The options themselves are rows of ``node.option_table``.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from covey.container_runtime import check_settings
from covey.default_bridge import check as check_bridge
from covey.engine_settings import EngineSettings
from covey.errors import InvalidArgumentError
from covey.log_driver import validate_log_config
from engine.listen_address import InheritedSockets, ListenAddress, TcpAddress, UnixAddress, parse_listen_address
from manager.interface import parse_store
from node.addresses import JOIN_PORT
from node.config_file import DEFAULT_FILE, file_values, prefix, read_file, require_choices
from node.option_table import FIXED, OPTIONS, Option
from node.option_values import flag

MTLS_PORT = 2378
IMAGE_PORT = 7946
TLS_FOLDER = Path("/etc/covey/tls")
_LOG_LEVELS = {"warn": "warning", "fatal": "critical"}

ReadFile = Callable[[Path | None], tuple[Path, str]]


class DaemonOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``advertise_addr`` is the default of ``--advertise-addr``; empty means to detect it. A ``mtls_port`` of None is the default.
    ``store`` is where this node's manager stores the cluster's state; empty means Raft. The three ``store_`` fields are file paths.
    """

    state_dir: Path = Path("/var/lib/covey")
    run_dir: Path = Path("/run/covey")
    hosts: tuple[str, ...] = ()
    tls: bool = False
    tls_verify: bool = False
    tls_ca: Path = TLS_FOLDER / "ca.pem"
    tls_cert: Path = TLS_FOLDER / "cert.pem"
    tls_key: Path = TLS_FOLDER / "key.pem"
    insecure_tcp: bool = False
    advertise_addr: str = ""
    join_port: int = JOIN_PORT
    mtls_port: int = MTLS_PORT
    image_port: int = IMAGE_PORT
    store: str = ""
    store_ca: str = ""
    store_cert: str = ""
    store_key: str = ""
    log_level: str = "info"
    engine: EngineSettings = EngineSettings()

    @property
    def listen_addresses(self) -> tuple[ListenAddress, ...]:
        """Where the Engine API listens."""
        texts = self.hosts or (f"unix://{self.run_dir}/covey.sock",)
        return tuple(parse_listen_address(text, tls=self.uses_tls) for text in texts)

    @property
    def local_host(self) -> str:
        """The Engine API for programs of this host, as their --host takes it."""
        sockets = (address.path for address in self.listen_addresses if isinstance(address, UnixAddress))
        return f"unix://{next(sockets, self.run_dir / 'covey.sock')}"

    @property
    def uses_tls(self) -> bool:
        """Whether connections over TCP are encrypted."""
        return self.tls or self.tls_verify

    @property
    def logging_level(self) -> str:
        """The level as Python's logging names it."""
        level = "debug" if self.engine.debug else self.log_level
        return _LOG_LEVELS.get(level, level).upper()


class CommandLine(msgspec.Struct, frozen=True):
    """``flags`` are the fields that the command line sets. ``config`` is the configuration file, None for the default one."""

    flags: Mapping[str, Any]
    config: Path | None = None
    is_validation: bool = False


def parse(arguments: Sequence[str], read: ReadFile = read_file) -> DaemonOptions:
    """The options of a command line and its configuration file. With ``--help`` it prints help and exits.

    Raises:
        InvalidArgumentError: an option is invalid, or stands in both places.
    """
    return merge(parse_command_line(arguments), read)


def parse_command_line(arguments: Sequence[str]) -> CommandLine:
    """The command line alone."""
    parser = argparse.ArgumentParser(
        prog="coveyd", description="The daemon of a Covey host.", argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    parser.add_argument(
        "--config", type=Path, default=None, metavar="FILE", help=f"configuration file (default {DEFAULT_FILE})"
    )
    parser.add_argument("--validate", action="store_true", default=False, help="check the configuration and exit")
    for option in (*OPTIONS, *FIXED):
        _add_argument(parser, option)
    parsed = vars(parser.parse_args(arguments))
    config, is_validation = parsed.pop("config"), parsed.pop("validate")
    for option in FIXED:
        if option.flag in parsed:
            option.convert(f"--{option.flag}", parsed[option.flag])
    flags = {
        option.field: option.convert(f"--{option.flag}", parsed[option.field])
        for option in OPTIONS
        if option.field in parsed
    }
    require_choices(flags)
    return CommandLine(flags, config, is_validation)


def _add_argument(parser: argparse.ArgumentParser, option: Option) -> None:
    names = [f"-{option.short}"] if option.short else []
    is_flag = option.convert is flag or not option.field
    more: dict[str, Any] = {"nargs": "?", "const": "true", "metavar": "true|false"} if is_flag else {}
    if option.metavar:
        more["metavar"] = option.metavar
    if option.is_list:
        more["action"] = "append"
    parser.add_argument(*names, f"--{option.flag}", dest=option.field or option.flag, help=option.help, **more)


def merge(line: CommandLine, read: ReadFile = read_file) -> DaemonOptions:
    """The options of a command line and its configuration file, checked together.

    Raises:
        InvalidArgumentError: an option is invalid, or stands in both places.
    """
    path, text = read(line.config)
    of_file = file_values(path, text, line.flags)
    found = {**line.flags, **of_file}
    names = {option.field for option in OPTIONS if option.is_engine}
    engine = EngineSettings(**{name: value for name, value in found.items() if name in names})
    rest = {name: value for name, value in found.items() if name not in names}
    options = DaemonOptions(**rest, engine=engine)
    _check(options)
    try:
        check_bridge(engine.default_bridge)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{prefix(path) if of_file else ''}{error.message}") from None
    return options


def _check(options: DaemonOptions) -> None:
    addresses = options.listen_addresses
    if not any(isinstance(address, UnixAddress | InheritedSockets) for address in addresses):
        raise InvalidArgumentError("--host names no unix:// socket: this host's own commands need one, so add it")
    tcp = [address for address in addresses if isinstance(address, TcpAddress)]
    if tcp and not options.tls_verify and not options.insecure_tcp:
        raise InvalidArgumentError(
            f"--host {tcp[0]} has no client certificates: whoever reaches it is root on this host. Use --tlsverify with --tlscacert, "
            "--tlscert and --tlskey, or allow it with --insecure-tcp"
        )
    if options.join_port == options.mtls_port:
        raise InvalidArgumentError(f"--join-port and --mtls-port are both {options.join_port}: give two ports")
    engine = options.engine
    check_settings(engine.runtimes, engine.default_runtime)
    validate_log_config(engine.log_driver, engine.log_options)
    if not engine.cgroup_parent.startswith("/") or ".." in engine.cgroup_parent:
        raise InvalidArgumentError(f"--cgroup-parent {engine.cgroup_parent}: give an absolute path")
    files = {name: getattr(options, name) for name in ("store_ca", "store_cert", "store_key")}
    if options.store:
        parse_store(
            options.store, ca_file=files["store_ca"], cert_file=files["store_cert"], key_file=files["store_key"]
        )
    elif any(files.values()):
        raise InvalidArgumentError("--store-ca, --store-cert and --store-key need --store: name the store")
