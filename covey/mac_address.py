"""MAC addresses of endpoints on networks of the cluster. Pure.

Invariant: on one network, different IPv4 addresses have different MAC addresses, and no endpoint is without an IPv4 address.
"""

import re

from covey.errors import InvalidArgumentError

_CLUSTER_PREFIX = "02:42:"
_PATTERN = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_MULTICAST = 0x01


def derived_mac(address: str) -> str:
    """The MAC of an IPv4 address, with or without its prefix length: ``10.0.1.5/24`` has ``02:42:0a:00:01:05``. Empty for none."""
    if not address:
        return ""
    octets = address.partition("/")[0].split(".")
    return "02:42:" + ":".join(f"{int(octet):02x}" for octet in octets)


def checked_mac(text: str, address: str) -> str:
    """A requested MAC in its normal form. ``address`` is the IPv4 address that goes with it, empty for any.

    Raises:
        InvalidArgumentError: it is none, is for groups, or may be that of another address.
    """
    mac = text.lower().replace("-", ":")
    if not _PATTERN.fullmatch(mac) or int(mac[:2], 16) & _MULTICAST:
        raise InvalidArgumentError(f"invalid MAC address {text}: give a unicast address such as 02:00:00:00:00:01")
    if mac.startswith(_CLUSTER_PREFIX) and mac != derived_mac(address):
        raise InvalidArgumentError(
            f"invalid MAC address {text}: those that begin with {_CLUSTER_PREFIX} follow from IPv4 addresses; choose another"
        )
    return mac
