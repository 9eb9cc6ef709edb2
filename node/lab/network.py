"""Virtual network of a lab: a bridge in the switch's namespace, and a namespace with a veth pair for each host. Netlink only."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from pyroute2 import IPRoute, netns
from pyroute2.netlink.exceptions import NetlinkError

from agent.network import bridge_netfilter
from agent.network.netns import Namespace
from node.lab.layout import GATEWAY, GATEWAY6, Lab, LabHost

BRIDGE = "br0"
LOOPBACK = 1
_NO_DUPLICATE_DETECTION = 0x02
"""Flag of an IPv6 address that is usable at once (IFA_F_NODAD)."""


@contextlib.contextmanager
def _netlink_in(name: str) -> Iterator[IPRoute]:
    with IPRoute(netns=name) as ip:
        yield ip


def _index(ip: IPRoute, name: str) -> int:
    found: list[int] = ip.link_lookup(ifname=name)
    if not found:
        raise LookupError(f"no device {name}")
    return found[0]


def _add_addresses(ip: IPRoute, index: int, address: str, address6: str) -> None:
    ip.addr("add", index=index, address=address, prefixlen=24)
    ip.addr("add", index=index, address=address6, prefixlen=64, flags=_NO_DUPLICATE_DETECTION)


def create_switch(lab: Lab) -> None:
    """Create the bridge with the gateway's address. Hosts use it as their resolver, which refuses queries at once."""
    if lab.switch in netns.listnetns():
        return
    netns.create(lab.switch)
    with _netlink_in(lab.switch) as ip:
        ip.link("set", index=LOOPBACK, state="up")
        ip.link("add", ifname=BRIDGE, kind="bridge")
        bridge = _index(ip, BRIDGE)
        ip.link("set", index=bridge, state="up")
        _add_addresses(ip, bridge, GATEWAY, GATEWAY6)
    switch = Namespace(f"/run/netns/{lab.switch}")
    try:
        # A switch forwards frames without a look at what is in them.
        switch.run(bridge_netfilter.turn_off)
    finally:
        switch.close()


def remove_switch(lab: Lab) -> None:
    """Remove the switch and every port in it."""
    _remove_namespace(lab.switch)


def connect_host(lab: Lab, host: LabHost) -> None:
    """Create a new namespace for the host, with eth0 connected to the switch, as after a reboot."""
    disconnect_host(lab, host)
    netns.create(host.netns)
    with _netlink_in(lab.switch) as switch, Path(f"/run/netns/{host.netns}").open() as target:
        switch.link("add", ifname=host.port, kind="veth", peer={"ifname": "eth0", "net_ns_fd": target.fileno()})
        port = _index(switch, host.port)
        switch.link("set", index=port, master=_index(switch, BRIDGE), state="up")
    with _netlink_in(host.netns) as ip:
        ip.link("set", index=LOOPBACK, state="up")
        eth0 = _index(ip, "eth0")
        ip.link("set", index=eth0, address=host.mac, state="up")
        _add_addresses(ip, eth0, host.address, host.address6)
        ip.route("add", dst="default", gateway=GATEWAY)
        ip.route("add", dst="default", gateway=GATEWAY6, family=socket.AF_INET6)


def disconnect_host(lab: Lab, host: LabHost) -> None:
    """Remove the host's namespace and its port."""
    if lab.switch in netns.listnetns():
        with _netlink_in(lab.switch) as switch, contextlib.suppress(LookupError, NetlinkError):
            switch.link("del", index=_index(switch, host.port))
    _remove_namespace(host.netns)


def set_link(lab: Lab, host: LabHost, *, up: bool) -> None:
    """Set the host's link up or down at the switch, as when a cable is pulled."""
    with _netlink_in(lab.switch) as switch:
        switch.link("set", index=_index(switch, host.port), state="up" if up else "down")


def link_is_up(lab: Lab, host: LabHost) -> bool:
    """Whether the host's link is up."""
    with contextlib.suppress(LookupError, OSError, NetlinkError), _netlink_in(lab.switch) as switch:
        link = switch.get_links(_index(switch, host.port))[0]
        return bool(link["flags"] & 1)
    return False


def _remove_namespace(name: str) -> None:
    if name in netns.listnetns():
        netns.remove(name)
