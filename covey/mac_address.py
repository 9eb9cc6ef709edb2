"""MAC addresses of endpoints on networks of the cluster. Pure.

Invariant: on one network, different IPv4 addresses have different MAC addresses, and no endpoint is without an IPv4 address.
"""


def derived_mac(address: str) -> str:
    """The MAC of an IPv4 address, with or without its prefix length: ``10.0.1.5/24`` has ``02:42:0a:00:01:05``. Empty for none."""
    if not address:
        return ""
    octets = address.partition("/")[0].split(".")
    return "02:42:" + ":".join(f"{int(octet):02x}" for octet in octets)
