"""Remote access to the Engine API as the options allow it: TLS, warnings about ports without certificates, and `--validate`."""

import ssl
from pathlib import Path

from agent.image.registry.config_file import read_config
from covey.errors import InvalidArgumentError
from engine.listen_address import TcpAddress
from engine.tls_context import server_context
from node.option_values import absolute_path
from node.options import DaemonOptions


def tls_context(options: DaemonOptions) -> ssl.SSLContext | None:
    """TLS for connections over TCP, None without it. As in Docker, the files are read only where something listens there."""
    if not options.uses_tls:
        return None
    return server_context(options.tls_cert, options.tls_key, options.tls_ca if options.tls_verify else None)


def insecure_warnings(options: DaemonOptions) -> tuple[str, ...]:
    """One warning for each TCP address that needs no client certificate."""
    if options.tls_verify:
        return ()
    how = "without client certificates" if options.tls else "without encryption"
    return tuple(
        f"WARNING: API is accessible on {address} {how}: access to it is equivalent to root access on this host. Use --tlsverify"
        for address in options.listen_addresses
        if isinstance(address, TcpAddress)
    )


def validate(options: DaemonOptions) -> None:
    """Check what the options name: certificates, the registries file and the init program.

    Raises:
        InvalidArgumentError: names the file.
    """
    tls_context(options)
    read_config(options.engine.registries_file)
    init = options.engine.init_path
    if init and not Path(absolute_path("init-path", init)).is_file():
        raise InvalidArgumentError(f"--init-path {init}: there is no such file")
