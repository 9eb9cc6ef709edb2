"""Listening sockets of the Engine API: Unix sockets with their mode and group, TCP, and sockets that systemd has opened.

Invariant: a Unix socket on which another daemon answers is never taken over; a stale one of a daemon that crashed is removed. Either all
addresses are opened, or none stays open.
"""

import contextlib
import grp
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from covey.errors import AlreadyExistsError, InvalidArgumentError, UnavailableError
from engine.listen_address import InheritedSockets, ListenAddress, TcpAddress, UnixAddress

log = logging.getLogger(__name__)

GROUP = "covey"
MODE = 0o660
BACKLOG = 128
FIRST_INHERITED = 3


class Listener(msgspec.Struct, frozen=True):
    """``path`` is the Unix socket that the daemon has made, None for any other."""

    socket: socket.socket
    name: str
    path: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is a Unix socket."""
        return self.socket.family == socket.AF_UNIX


def inherited_sockets(environment: Mapping[str, str], pid: int) -> dict[int, str]:
    """File descriptors that systemd passes to this process, with their names. Pure.

    Raises:
        InvalidArgumentError: the environment is malformed.
    """
    if environment.get("LISTEN_PID") != str(pid):
        return {}
    try:
        count = int(environment.get("LISTEN_FDS", ""))
    except ValueError:
        raise InvalidArgumentError("LISTEN_FDS of the environment is not a number") from None
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    return {
        FIRST_INHERITED + index: names[index] if index < len(names) and names[index] else "unknown"
        for index in range(count)
    }


@contextlib.contextmanager
def listening(
    addresses: Sequence[ListenAddress],
    environment: Mapping[str, str] = {},
    *,
    allows_tcp: bool = True,
    pid: int | None = None,
) -> Iterator[list[Listener]]:
    """Listen at all addresses until the end of the block, which also removes Unix sockets.

    Raises:
        AlreadyExistsError: another daemon serves there. UnavailableError: the address cannot be used. InvalidArgumentError: systemd
            has passed no such socket.
    """
    inherited = inherited_sockets(environment, os.getpid() if pid is None else pid)
    with contextlib.ExitStack() as stack:
        found: list[Listener] = []
        for address in addresses:
            for listener in _open(address, inherited):
                found.append(listener)
                stack.callback(_close, listener)
                if not (listener.is_local or allows_tcp):
                    raise InvalidArgumentError(
                        f"--host {listener.name} is a TCP socket without client certificates: whoever reaches it is root on this host. "
                        "Use --tlsverify, or allow it with --insecure-tcp"
                    )
        yield found


def _open(address: ListenAddress, inherited: Mapping[int, str]) -> list[Listener]:
    if isinstance(address, UnixAddress):
        return [Listener(bind_unix(address.path), f"unix://{address.path}", address.path)]
    if isinstance(address, TcpAddress):
        return _bind_tcp(address)
    return _take_inherited(address, inherited)


def _close(listener: Listener) -> None:
    listener.socket.close()
    if listener.path is not None:
        listener.path.unlink(missing_ok=True)


def _bind_tcp(address: TcpAddress) -> list[Listener]:
    """A socket for each address of the host name."""
    opened: list[Listener] = []
    try:
        targets = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, target in dict.fromkeys(targets):
            link = socket.socket(family, kind, protocol)
            opened.append(Listener(link, str(address)))
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            link.setblocking(False)
            link.bind(target)
            link.listen(BACKLOG)
    except OSError as error:
        for listener in opened:
            listener.socket.close()
        raise UnavailableError(f"cannot listen at {address}: {error.strerror or error}") from None
    return opened


def _take_inherited(address: InheritedSockets, inherited: Mapping[int, str]) -> list[Listener]:
    wanted = [descriptor for descriptor, name in inherited.items() if address.name in {"", name, str(descriptor)}]
    if not wanted:
        raise InvalidArgumentError(
            f"--host fd://{address.name}: no sockets found via socket activation: make sure the service was started by systemd"
        )
    found = []
    for descriptor in wanted:
        try:
            os.set_inheritable(descriptor, False)
            link = socket.socket(fileno=descriptor)
        except OSError as error:
            raise InvalidArgumentError(
                f"--host fd://{address.name}: descriptor {descriptor} is no socket: {error.strerror}"
            ) from None
        if link.family not in {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6} or link.type != socket.SOCK_STREAM:
            raise InvalidArgumentError(
                f"--host fd://{address.name}: socket {inherited[descriptor]} is not a stream socket"
            )
        link.setblocking(False)
        found.append(Listener(link, f"fd://{inherited[descriptor]}"))
    return found


def bind_unix(path: Path) -> socket.socket:
    """A listening socket at ``path``. Nobody else can open it before its mode is set."""
    remove_stale(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        group = _group_id()
        if group is not None and os.geteuid() == 0:
            os.chown(path, 0, group)
        path.chmod(MODE)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def remove_stale(path: Path) -> None:
    """Remove a stale socket. AlreadyExistsError if a daemon answers on it, or if it is not a socket."""
    if not path.exists():
        return
    if not path.is_socket():
        raise AlreadyExistsError(
            f"cannot create the Engine API's socket: {path} exists and is not a socket; move it away"
        )
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            log.info("removed the stale socket %s of a daemon that crashed", path)
            return
        except TimeoutError:
            pass
    raise AlreadyExistsError(f"another daemon serves the Engine API at {path}; stop it first or use another --host")


def _group_id() -> int | None:
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None
