"""WireGuard devices of this host, through `wg`, which speaks to the kernel's and to those of wireguard-go alike. Blocking.

Called in the host's namespace. A process of wireguard-go outlives the daemon.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from agent.network.plan.encryption import PeerKey
from agent.network.wireguard import receive_buffers
from agent.network.wireguard.keys import TunnelKey
from covey.errors import UnavailableError

KERNEL, WIREGUARD_GO = "kernel", "wireguard-go"
LINK_KINDS = {KERNEL: "wireguard", WIREGUARD_GO: "tun"}
REMEDY = "install the packages wireguard-tools and wireguard-go"
FIRST_PORT = 51820
_PORTS = 64
_SECONDS = 10.0
_POLL_SECONDS = 0.01
_MAX_LINES = 1000


def find_implementation(probe: str) -> str:
    """The kernel, if it makes a WireGuard device (`probe` is a free name for one), else wireguard-go.

    Raises:
        UnavailableError: this host has neither, or lacks the tool that configures them.
    """
    if shutil.which("wg") is None:
        raise UnavailableError(f"this host has no program wg: {REMEDY}")
    if not _failure(["ip", "link", "add", "name", probe, "type", "wireguard"]):
        _failure(["ip", "link", "delete", probe])
        return KERNEL
    if shutil.which("wireguard-go") is None or not Path("/dev/net/tun").exists():
        raise UnavailableError(
            f"this host has neither WireGuard in its kernel nor wireguard-go with /dev/net/tun: {REMEDY}"
        )
    return WIREGUARD_GO


def free_port(avoid: int = 0) -> int:
    """A free UDP port of this host for a new device, one of a few, so that firewalls can be told of them."""
    for port in range(FIRST_PORT, FIRST_PORT + _PORTS):
        if port != avoid and _is_free(port):
            return port
    raise UnavailableError(
        f"none of the UDP ports {FIRST_PORT} to {FIRST_PORT + _PORTS - 1} of this host is free for WireGuard"
    )


def exists(device: str) -> bool:
    try:
        return socket.if_nametoindex(device) > 0
    except OSError:
        return False


def start_process(device: str) -> None:
    """Start wireguard-go with a new device. It answers on its control socket when this returns.

    The command makes the device and ends before the process that it leaves behind sets the device's MTU to its own default. That process
    answers only afterwards, so an MTU that is set after its answer stays.

    Raises:
        UnavailableError: it did not start, or does not answer.
    """
    end_process(device)
    failure = _failure(["wireguard-go", device], {"LOG_LEVEL": "error"})
    if failure:
        raise UnavailableError(f"wireguard-go could not make the device {device}: {failure}")
    _wg(["show", device, "dump"])


def end_process(device: str) -> None:
    """End the process of a device of wireguard-go, and with it the device. Both are gone when this returns: a process that is still
    ending would remove the control socket of its successor.

    Raises:
        UnavailableError: it does not end.
    """
    deadline = time.monotonic() + _SECONDS
    signalled: set[int] = set()
    while left := _processes(device):
        for process in left - signalled:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        signalled |= left
        if time.monotonic() > deadline:
            raise UnavailableError(f"wireguard-go, process {min(left)}, keeps the device {device}: end it")
        time.sleep(_POLL_SECONDS)


def enlarge_buffers(device: str) -> bool:
    """Enlarge the receive buffers of the process of a device. Returns whether that was possible."""
    return receive_buffers.enlarge(_processes(device))


def set_key(key: TunnelKey) -> None:
    """Raises UnavailableError if the device is not there or its port is in use."""
    _wg(["set", key.device, "listen-port", str(key.port), "private-key", "/dev/stdin"], key.private_key + "\n")


def set_peers(device: str, changes: list[tuple[str, ...]]) -> None:
    """Carry out changes of a device's peers, in order."""
    for first in range(0, len(changes), 100):
        words = [word for change in changes[first : first + 100] for word in change]
        _wg(["set", device, *words])


def read_peers(device: str, key: TunnelKey) -> Mapping[str, PeerKey] | None:
    """The peers of a device; None if it has another key or port than `key`, and so must be set up anew."""
    lines = _wg(["show", device, "dump"]).splitlines()
    own = lines[0].split("\t") if lines else []
    if own[:3] != [key.private_key, key.public_key, str(key.port)]:
        return None
    peers = {}
    for line in lines[1:]:
        public, _, endpoint, allowed, *_ = line.split("\t")
        networks = frozenset() if allowed == "(none)" else frozenset(allowed.split(","))
        peers[public] = PeerKey(allowed=networks, endpoint="" if endpoint == "(none)" else endpoint)
    return peers


def read_tunnel_peers() -> frozenset[str] | None:
    """What leads to peers of all devices, as "DEVICE PREFIX"; None if that cannot be read."""
    try:
        lines = _wg(["show", "all", "allowed-ips"]).splitlines()
    except UnavailableError:
        return None
    rows = [line.split() for line in lines]
    return frozenset(f"{row[0]} {prefix}" for row in rows for prefix in row[2:] if prefix != "(none)")


def read_keys(device: str) -> frozenset[str]:
    """The public keys of a device's peers."""
    return frozenset(_wg(["show", device, "peers"]).split())


def read_handshakes(device: str) -> frozenset[str]:
    """The public keys of the peers with which a device has completed a handshake."""
    lines = [line.split("\t") for line in _wg(["show", device, "latest-handshakes"]).splitlines()]
    return frozenset(key for key, seconds in lines if seconds != "0")


def set_keepalive(device: str, peers: Iterable[str], seconds: int) -> None:
    """Send to peers every so many seconds, the first time at once; 0 for never."""
    set_peers(device, [("peer", key, "persistent-keepalive", str(seconds)) for key in sorted(peers)])


def _wg(arguments: list[str], text: str = "") -> str:
    try:
        done = subprocess.run(
            ["wg", *arguments], input=text, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"wg {' '.join(arguments[:2])}: {error.stderr.strip()[:_MAX_LINES]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"wg {' '.join(arguments[:2])}: {error}") from None
    return done.stdout


def _failure(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """Why a command failed, empty if it did not. It must not keep the daemon's descriptors open: wireguard-go stays."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return f"status {done.returncode}" if done.returncode else ""


def _processes(device: str) -> set[int]:
    """The processes of wireguard-go with a device. One that has ended and was not waited for has no command line."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            program, *arguments = path.read_bytes().split(b"\0")
            if program.rpartition(b"/")[2] == b"wireguard-go" and device.encode() in arguments:
                found.add(int(path.parent.name))
    return found


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
        try:
            one.bind(("::", port))
        except OSError:
            return False
    return True
