"""What others may do to the network state of a lab's host, for random walks: shell scripts drawn from lists of faults."""

from __future__ import annotations

import random
from collections.abc import Sequence

HOST_FAULTS = (
    "nft flush ruleset",
    "nft delete table inet covey0-ports",
    "nft delete table inet covey0-mesh",
    "nft add rule inet covey0-bridges forward drop",
    "nft add chain inet covey0-bridges foreign",
    "nft flush map inet covey0-ports any4",
    "ip link set covey0mesh down",
    "ip address add 10.99.1.1/24 dev covey0mesh",
    "ip route add 10.66.0.0/16 dev lo proto 192",
    "ip rule add fwmark 0x77 table 99 protocol 192 priority 500",
    "ip rule delete priority 69",
    "ip link delete $(ls /sys/class/net | grep -m 1 ^cv)",
    "ip link set $(ls /sys/class/net | grep ^cv | tail -n 1) nomaster",
    "bridge fdb add 02:42:00:00:00:99 dev covey0mesh dst 192.0.2.9",
)
CONTAINER_FAULTS = (
    "ip link delete eth0",
    "ip address flush dev eth0",
    "ip route delete default",
    "ip link set eth1 down",
    "ip -6 address flush dev eth0",
)
OVERLAY_FAULTS = (
    "ip link delete vxlan0",
    "ip link set br0 down",
    "ip address add 10.99.2.1/24 dev br0",
    "nft flush ruleset",
    "bridge fdb add 02:42:00:00:00:99 dev vxlan0 dst 192.0.2.9",
)


def fault_script(dice: random.Random, number: int, host_faults: Sequence[str] = HOST_FAULTS) -> str:
    """A script of `number` faults for a shell inside a host. A fault that finds nothing to break does nothing; others print `broken`."""
    lines = []
    for _ in range(number):
        kind = dice.random()
        if kind < 0.6:
            lines.append(dice.choice(host_faults))
            continue
        folder, faults = ("containers", CONTAINER_FAULTS) if kind < 0.85 else ("networks", OVERLAY_FAULTS)
        pick, fault = dice.randrange(1, 5), dice.choice(faults)
        lines.append(
            f'f=$(ls -d /run/covey/netns/{folder}/* | sed -n {pick}p); [ -n "$f" ] && nsenter --net=$f {fault}'
        )
    return "\n".join(f"{{ {line} && echo broken; }} 2>/dev/null || true" for line in lines)
