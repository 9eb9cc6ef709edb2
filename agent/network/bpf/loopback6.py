"""Published ports on `[::1]`: a connection of the host's own programs is led to the container before its first packet.

nftables cannot do this: the kernel never routes a packet from ::1 to another device. So the address is rewritten when a program
connects. A container without an IPv6 address is reached by its IPv4 address, mapped, which the kernel allows for connected sockets.

Invariant: only sockets of this daemon's network namespace are touched. Invariant: the programs end with the daemon; connections go on.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from agent.network.bpf import syscalls
from agent.network.bpf.assembler import Program
from covey.errors import UnsupportedError

MAX_PORTS = 65_536
_MAX_FLOWS = 16_384
_CONNECT6, _SENDMSG6, _RECVMSG6 = 11, 15, 20
_LOOKUP, _UPDATE, _SOCKET_COOKIE, _NETNS_COOKIE = 1, 2, 46, 122
_SO_NETNS_COOKIE = 71
# Offsets in struct bpf_sock_addr.
_ADDRESS, _PORT, _PROTOCOL = 8, 24, 36
_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_LOOPBACK = struct.unpack("=4i", socket.inet_pton(socket.AF_INET6, "::1"))
# Stack: the key of `ports` (protocol, port), and the key (socket cookie, port, last word of the address) and value of `flows`.
_PORT_KEY, _FLOW_KEY, _FLOW_PORT = -8, -24, -28


class LoopbackPort(NamedTuple):
    protocol: str
    port: int


class LoopbackTarget(NamedTuple):
    address: str
    port: int


def port_key(port: LoopbackPort) -> bytes:
    return struct.pack("=I", _PROTOCOLS[port.protocol]) + struct.pack("!H2x", port.port)


def target_value(target: LoopbackTarget) -> bytes:
    address = ip_address(target.address)
    mapped = IPv6Address(f"::ffff:{address}") if isinstance(address, IPv4Address) else address
    return mapped.packed + struct.pack("!H2x", target.port)


def redirect_program(ports: int, flows: int, cookie: int, *, remember: bool) -> bytes:
    """At connect or, with `remember`, at a datagram without connect: `[::1]:PORT` becomes the container's address and port.

    `remember` keeps for the reply which port the program sent to. It leaves mapped IPv4 addresses alone, which the kernel refuses there.
    """
    program = Program().move(6, 1)
    for index, word in enumerate(_LOOPBACK):
        program.load_32(1, 6, _ADDRESS + 4 * index).jump_unless(1, word, "allow")
    program.move(1, 6).call(_NETNS_COOKIE).set_64(1, cookie).jump_unless_same(0, 1, "allow")
    program.load_32(1, 6, _PROTOCOL).store_32(10, _PORT_KEY, 1)
    program.load_32(1, 6, _PORT).store_32(10, _PORT_KEY + 4, 1)
    program.set_map(1, ports).move(2, 10).add(2, _PORT_KEY).call(_LOOKUP).jump_if_zero(0, "allow").move(7, 0)
    if remember:
        program.load_32(1, 7, 8).set_64(2, socket.htonl(0xFFFF)).jump_unless_same(1, 2, "native").leave(1).label(
            "native"
        )
        program.move(1, 6).call(_SOCKET_COOKIE).store_64(10, _FLOW_KEY, 0)
        program.load_32(1, 7, 16).store_32(10, _FLOW_KEY + 8, 1).load_32(1, 7, 12).store_32(10, _FLOW_KEY + 12, 1)
        program.load_32(1, 6, _PORT).store_32(10, _FLOW_PORT, 1)
        program.set_map(1, flows).move(2, 10).add(2, _FLOW_KEY).move(3, 10).add(3, _FLOW_PORT).set(4, 0).call(_UPDATE)
    for index in range(4):
        program.load_32(1, 7, 4 * index).store_32(6, _ADDRESS + 4 * index, 1)
    return program.load_32(1, 7, 16).store_32(6, _PORT, 1).label("allow").leave(1).assemble()


def restore_program(flows: int) -> bytes:
    """A reply to such a datagram comes from `[::1]:PORT`, as the program expects."""
    program = Program().move(6, 1).call(_SOCKET_COOKIE).store_64(10, _FLOW_KEY, 0)
    program.load_32(1, 6, _PORT).store_32(10, _FLOW_KEY + 8, 1)
    program.load_32(1, 6, _ADDRESS + 12).store_32(10, _FLOW_KEY + 12, 1)
    program.set_map(1, flows).move(2, 10).add(2, _FLOW_KEY).call(_LOOKUP).jump_if_zero(0, "allow")
    program.load_32(7, 0, 0)
    for index, word in enumerate(_LOOPBACK):
        program.set(1, word).store_32(6, _ADDRESS + 4 * index, 1)
    return program.store_32(6, _PORT, 7).label("allow").leave(1).assemble()


class Loopback6:
    """One per daemon. `cgroup` is the root of the host's unified hierarchy, `cookie` that of the host's network namespace."""

    def __init__(self, cgroup: str, cookie: int) -> None:
        """Raises UnsupportedError: the kernel has no BPF for sockets, or no cgroup2 is mounted."""
        self._targets: dict[LoopbackPort, LoopbackTarget] = {}
        self._fds: list[int] = []
        try:
            self._open(cgroup, cookie)
        except OSError as error:
            self.close()
            raise UnsupportedError(
                f"published ports on [::1] need BPF and cgroup2 of this kernel: {error.strerror}"
            ) from error
        except BaseException:
            self.close()
            raise

    def set_ports(self, wanted: Mapping[LoopbackPort, LoopbackTarget]) -> None:
        """Lead these ports to containers, and no others."""
        for port in [port for port in self._targets if port not in wanted]:
            self._ports.delete(port_key(port))
            del self._targets[port]
        for port, target in wanted.items():
            if self._targets.get(port) != target:
                self._ports.put(port_key(port), target_value(target))
                self._targets[port] = target

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())

    def _open(self, cgroup: str, cookie: int) -> None:
        self._ports = syscalls.HashMap(8, 20, MAX_PORTS)
        self._fds.append(self._ports.fd)
        flows = syscalls.HashMap(16, 4, _MAX_FLOWS, least_recently_used=True)
        self._fds.append(flows.fd)
        root = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._fds.append(root)
        for kind, code in (
            (_CONNECT6, redirect_program(self._ports.fd, flows.fd, cookie, remember=False)),
            (_SENDMSG6, redirect_program(self._ports.fd, flows.fd, cookie, remember=True)),
            (_RECVMSG6, restore_program(flows.fd)),
        ):
            program = syscalls.load_program(code, kind, "covey_loopback6")
            self._fds.append(program)
            self._fds.append(syscalls.link_to_cgroup(program, root, kind))


def namespace_cookie() -> int:
    """The kernel's number of the calling thread's network namespace, which is never given again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return int(struct.unpack("=Q", probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8))[0])
