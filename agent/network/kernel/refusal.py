"""Errors for what the kernel refuses: which item, in which namespace, why, and what to do."""

from __future__ import annotations

import errno
import os

from agent.network.namespace_state import HOST, Link
from agent.network.plan.items import Item, Value, describe
from covey.errors import CoveyError, InvalidArgumentError, UnavailableError, UnsupportedError


class VxlanIdInUseError(UnavailableError):
    """Another VXLAN device of the host has the id."""


_UNSUPPORTED = {errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOPROTOOPT}


def refusal(namespace: str, item: Item, value: Value | None, number: int, words: str = "") -> CoveyError:
    """`number` is the kernel's errno, `words` its own explanation if it gave one."""
    reason = os.strerror(number) + (f" ({words})" if words else "")
    remedy = _remedy(item, value, number, words)
    message = f"the kernel refused the {_named(item, value)} {place(namespace)}: {reason}{remedy}"
    if number in _UNSUPPORTED:
        return UnsupportedError(message)
    if isinstance(value, Link) and value.kind == "vxlan" and number == errno.EEXIST:
        return VxlanIdInUseError(message)
    # A parent that does not exist is a mistake of whoever named it; everything else is the host's.
    return InvalidArgumentError(message) if _lacks_parent(value, number) else UnavailableError(message)


def nft_refusal(namespace: str, item: Item, reason: str) -> CoveyError:
    """`reason` are the words of nftables."""
    message = f"nftables refused the {describe(item)} {place(namespace)}: {reason}"
    if "Operation not supported" in reason:
        return UnsupportedError(
            f"{message}; this kernel lacks a part of nftables that it needs (nat, numgen, reject, fib)"
        )
    if "No such file or directory" in reason:
        message += "; what it names does not exist, or this kernel lacks a part of nftables that it needs"
    return UnavailableError(message)


def place(namespace: str) -> str:
    """A namespace in words: `on this host`, `of container 0123456789ab`."""
    kind, _, name = namespace.partition("/")
    return "on this host" if namespace == HOST else f"of {kind} {name[:12]}"


def _named(item: Item, value: Value | None) -> str:
    kind = f"{value.kind} " if isinstance(value, Link) and value.kind else ""
    return kind + describe(item)


def _lacks_parent(value: Value | None, number: int) -> bool:
    return isinstance(value, Link) and bool(value.parent) and number == errno.ENODEV


_MODULES = {"vlan": "8021q"}


def _remedy(item: Item, value: Value | None, number: int, words: str) -> str:
    link = value if isinstance(value, Link) else None
    if link is not None and number in _UNSUPPORTED:
        module = _MODULES.get(link.kind, link.kind)
        return f"; this kernel has no {link.kind} devices: load its module (modprobe {module}) or use another driver"
    if link is not None and _lacks_parent(value, number):
        return f"; there is no parent device {link.parent} on this host"
    if link is not None and number == errno.EEXIST:
        if link.kind == "vxlan":
            name = "" if "VNI" in words else f" or the name {item[1]}"
            return f"; VXLAN id {link.options.get('vxlan_id')}{name} is in use on this host by another daemon or tool"
        return f"; another device has this name: remove it (ip link delete {item[1]}) or choose another name"
    if number == errno.EBUSY and link is not None:
        return f"; its parent {link.parent or 'device'} is in use in another mode or by another kind of device"
    if item[0] == "sysctl" and number in {errno.ENOENT, errno.EACCES, errno.EROFS}:
        return "; load the kernel module that has it, or set it in the host's sysctl configuration"
    if number == errno.ENODEV:
        return "; its device is gone and is made again by the next repair"
    if number == errno.EPERM:
        return "; run coveyd as root, with CAP_NET_ADMIN"
    return ""
