"""Network devices of hosts and sandboxes through pyroute2: what is read of them beside the reconciler, and how they are removed.

Invariant: every function can be repeated. It reads first, or accepts that the object is gone already.

Functions with a `route` parameter run inside `run_in_namespace`, with an IPRoute of that namespace and on its thread.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from agent.network import netns
from agent.network.kernel.elsewhere import device_index
from agent.network.kernel.entry_messages import GET_ROUTE, all_routes, parse_destination
from agent.network.kernel.link_messages import ask_link
from agent.network.kernel.netlink import NetlinkSocket
from agent.network.model import HostRoute
from agent.network.netns import Namespace
from agent.network.pyroute import IPRoute, NetlinkError
from covey.errors import UnavailableError, UnsupportedError

logger = logging.getLogger(__name__)
T = TypeVar("T")
_MAIN_TABLE = 254
_DELETION_GROUP = 0xC0E7  # a device group that nobody else uses
_UNSUPPORTED_ERRORS = {errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT}


def run_in_namespace(namespace: Namespace, what: str, work: Callable[[Any], T]) -> T:
    """Run `work` with an IPRoute of the namespace. `what` names the goal in errors: "create the bridge of network web"."""

    def body() -> T:
        with IPRoute() as route:
            return work(route)

    try:
        return namespace.run(body)
    except NetlinkError as error:
        reason = error.args[1] if len(error.args) > 1 else str(error)
        if error.code in _UNSUPPORTED_ERRORS:
            raise UnsupportedError(f"this kernel cannot {what}: {reason}") from error
        raise UnavailableError(f"the kernel refused to {what}: {reason}") from error


def index_of(route: Any, name: str) -> int:
    """The interface's index, or 0 when there is none."""
    found = route.link_lookup(ifname=name)
    return int(found[0]) if found else 0


def set_loopback_up(route: Any) -> None:
    route.link("set", index=1, state="up")


def disable_ipv6() -> None:
    """Disable IPv6 on interfaces that are created later, so that they send no packets by themselves."""
    set_sysctl("net/ipv6/conf/default/disable_ipv6", "1")


def set_sysctl(key: str, value: str) -> bool:
    """Write below /proc/sys in the calling thread's namespace. Returns False when the kernel or the host refuses it."""
    path = Path("/proc/sys") / key
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError as error:
        logger.debug("sysctl %s=%s not set: %s", key, value, error)
        return False
    return True


def underlay_device(route: Any, address: str) -> tuple[str, int]:
    """Name and MTU of the device with the address, else of the default route's device, else "the network" and 1500."""
    family = 10 if ":" in address else 2
    name = "IFA_ADDRESS" if family == 10 else "IFA_LOCAL"
    indexes = [item["index"] for item in route.get_addr(family=family) if item.get_attr(name) == address]
    indexes += [item.get_attr("RTA_OIF") for item in route.get_default_routes(family=family)]
    for index in filter(None, indexes):
        link = route.get_links(index)[0]
        return str(link.get_attr("IFLA_IFNAME")), int(link.get_attr("IFLA_MTU"))
    return "the network", 1500


def host_routes() -> tuple[HostRoute, ...]:
    """The routes of the main table of the calling thread's namespace in both families, without default routes.

    Every new network asks for them, so the dump is not parsed by pyroute2, which takes a millisecond for each device.
    """
    names = dict(socket.if_nameindex())
    with NetlinkSocket() as netlink:
        bodies = [body for family in (4, 6) for body in netlink.dump(GET_ROUTE, all_routes(family))]
    found = (parse_destination(body, names, _MAIN_TABLE) for body in bodies)
    return tuple(HostRoute(*each) for each in found if each is not None and not each[0].startswith("fe80:"))


def await_carrier(namespace: Namespace, name: str) -> None:
    """Return once a new device passes packets: the kernel sees to its carrier later, which can take longer on a busy host."""

    def ask() -> None:
        index = device_index(name)
        if index:
            with NetlinkSocket() as netlink:
                netlink.send([ask_link(index)])

    namespace.run(ask)


def host_addresses(route: Any) -> tuple[str, ...]:
    """Addresses of global scope, without those of devices that Covey made."""
    own = {link["index"] for link in route.get_links() if str(link.get_attr("IFLA_IFALIAS") or "").startswith("covey")}
    found = [item for item in route.get_addr() if item["scope"] == 0 and item["index"] not in own]
    return tuple(sorted({str(item.get_attr("IFA_LOCAL") or item.get_attr("IFA_ADDRESS")) for item in found}))


def delete_link(route: Any, name: str) -> bool:
    index = index_of(route, name)
    if not index:
        return False
    try:
        route.link("del", index=index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
    return True


def remove_namespace(path: Path) -> None:
    """Delete the devices of a named namespace, then its name."""
    if netns.is_namespace(path):
        namespace = Namespace(str(path))
        try:
            run_in_namespace(namespace, f"delete the devices of {path.name}", delete_all_links)
        finally:
            namespace.close()
    netns.remove(path)


def delete_all_links(route: Any) -> None:
    """Delete all devices but loopback. When it returns, their names and VXLAN ids are free.

    They are deleted as one group, because the kernel waits once per deletion.
    """
    indexes = [
        link["index"]
        for link in route.get_links()
        if link["index"] != 1 and link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND")
    ]
    for index in indexes:
        route.link("set", index=index, group=_DELETION_GROUP)
    if indexes:
        route.link("del", group=_DELETION_GROUP)
