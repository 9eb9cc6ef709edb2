"""Address pools from which a host takes the subnets of its own networks. Pure.

Called by the daemon's options and by the agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import NamedTuple

from covey.errors import InvalidArgumentError


class AddressPool(NamedTuple):
    """Subnets of prefix length `size` out of `base`, which is in CIDR notation."""

    base: str
    size: int


def read_pool(fields: Mapping[str, object]) -> AddressPool:
    """A pool as the configuration of the daemon names it: `base` and `size`.

    Raises:
        InvalidArgumentError: a field is missing, unknown or does not fit.
    """
    unknown = sorted(set(fields) - {"base", "size"})
    if unknown:
        raise InvalidArgumentError(f"invalid default address pool: unknown field {unknown[0]!r}: use base and size")
    text = str(fields.get("base", ""))
    try:
        base, size = ip_network(text, strict=False), int(str(fields.get("size", "")))
    except ValueError:
        raise InvalidArgumentError(
            f"invalid default address pool base={text},size={fields.get('size', '')}: use base=CIDR,size=PREFIX"
        ) from None
    if not base.prefixlen <= size <= base.max_prefixlen - 2:
        raise InvalidArgumentError(
            f"invalid default address pool {text}: the size must be between {base.prefixlen} and {base.max_prefixlen - 2}, not {size}"
        )
    return AddressPool(str(base), size)
