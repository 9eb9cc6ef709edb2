"""Values of the daemon's options: from the text of a flag, or from TOML, to what the daemon uses. Pure.

Each function takes the option's name, which its error states, and one value: a list of texts where a flag can be repeated, or what the
configuration file has.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from covey import ulimits as ulimit_rules
from covey.container_runtime import RuntimeProgram
from covey.engine_settings import Ulimit
from covey.errors import InvalidArgumentError
from covey.generic_resources import parse as parse_generic_resources
from covey.network_pools import AddressPool, read_pool
from covey.objects import Resources

_SIZE = re.compile(r"(\d+)\s*([kmgtp]?)i?b?", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_TRUE, _FALSE = frozenset({"true", "1", "t"}), frozenset({"false", "0", "f"})
_MIN_MTU, _MAX_MTU = 68, 65_535
_LEAST_ADDRESSES = 2


def text(name: str, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value or "\n" in value:
        raise InvalidArgumentError(f"{name}: {value!r} is not a text")
    return value


def path(name: str, value: Any) -> Path:
    if not text(name, value):
        raise InvalidArgumentError(f"{name} is empty: give a path")
    return Path(value)


def absolute_path(name: str, value: Any) -> str:
    """An absolute path; empty if the option is empty."""
    return str(Path(value).absolute()) if text(name, value) else ""


def flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if isinstance(value, str) and word in _TRUE | _FALSE:
        return word in _TRUE
    raise InvalidArgumentError(f"{name}: {value!r} is neither true nor false")


def port(name: str, value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 16:
        raise InvalidArgumentError(f"{name}: {value!r} is not a port: give 1 to 65535")
    return value


def port_or_zero(name: str, value: Any) -> int:
    return 0 if value in ("0", 0) and not isinstance(value, bool) else port(name, value)


def size(name: str, value: Any) -> int:
    """Bytes, from a number or a text such as ``64m``."""
    found = (
        _SIZE.fullmatch(str(value).strip()) if isinstance(value, str | int) and not isinstance(value, bool) else None
    )
    if found is None:
        raise InvalidArgumentError(f"{name}: {value!r} is not a size: give bytes, or a number with k, m or g")
    return int(found[1]) << _UNITS[found[2].lower()]


def texts(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidArgumentError(f"{name}: {value!r} is not a list of texts")
    return tuple(text(name, item) for item in value)


def addresses(name: str, value: Any) -> tuple[str, ...]:
    """IP addresses."""
    found = texts(name, value)
    for item in found:
        try:
            ipaddress.ip_address(item)
        except ValueError:
            raise InvalidArgumentError(f"{name}: {item} is not an ip address") from None
    return found


def pairs(name: str, value: Any) -> dict[str, str]:
    """KEY=VALUE, each key once. The file may also have a table."""
    if isinstance(value, Mapping):
        return {text(name, key): text(f"{name}.{key}", item) for key, item in value.items()}
    result: dict[str, str] = {}
    for item in texts(name, value):
        key, equals, rest = item.partition("=")
        if not (key and equals):
            kind = "a label" if "label" in name else "it"
            raise InvalidArgumentError(f"{name} {item}: {kind} is KEY=VALUE")
        if key in result:
            raise InvalidArgumentError(f"{name} {key} is given twice: give each key once")
        result[key] = rest
    return result


def generic_resources(name: str, value: Any) -> Resources:
    """KIND=NUMBER or KIND=NAME. Docker's file has a list of these."""
    return parse_generic_resources(name, texts(name, value))


def ulimits(name: str, value: Any) -> dict[str, Ulimit]:
    """NAME=SOFT[:HARD]. The file may have a table of these, or of tables with ``soft`` and ``hard``."""
    if not isinstance(value, Mapping):
        value = pairs(name, value)
    return {key: _ulimit(name, key, item) for key, item in value.items()}


def runtimes(name: str, value: Any) -> dict[str, RuntimeProgram]:
    """NAME=PATH. The file has a table of tables with ``path`` and ``runtimeArgs``, Docker's keys. Names are in lower case, as Docker's."""
    if isinstance(value, Mapping):
        found = {text(name, key): _runtime(f"{name}.{key}", item) for key, item in value.items()}
    else:
        found = {key: RuntimeProgram(text(name, item)) for key, item in pairs(name, value).items()}
    result: dict[str, RuntimeProgram] = {}
    for key, program in found.items():
        lower = key.strip().lower()
        if not program.path:
            raise InvalidArgumentError(f"{name}: runtime {key!r} has no path: give the program's path")
        if not lower or lower in result:
            raise InvalidArgumentError(
                f"{name}: runtime '{key}' was already registered" if lower else f"{name}: a runtime has no name"
            )
        result[lower] = program
    return result


def _runtime(name: str, item: Any) -> RuntimeProgram:
    if not isinstance(item, Mapping):
        raise InvalidArgumentError(f"{name}: {item!r} is not a table with path and runtimeArgs")
    if unknown := sorted(str(key) for key in set(item) - {"path", "runtimeArgs"}):
        raise InvalidArgumentError(f"{name}: unknown key {unknown[0]!r}: give path and runtimeArgs")
    return RuntimeProgram(
        text(f"{name}.path", item.get("path", "")), texts(f"{name}.runtimeArgs", item.get("runtimeArgs", ()))
    )


def _ulimit(name: str, key: str, item: Any) -> Ulimit:
    if key not in ulimit_rules.NAMES:
        raise InvalidArgumentError(f"{name}: invalid ulimit type: {key}")
    if isinstance(item, Mapping):
        limits = {str(part).lower(): limit for part, limit in item.items()}
        if unknown := sorted(set(limits) - {"name", "soft", "hard"}):
            raise InvalidArgumentError(f"{name}.{key}: unknown key {unknown[0]!r}: give soft and hard")
        values = [limits.get("soft", limits.get("hard")), limits.get("hard", limits.get("soft"))]
    else:
        soft, _, hard = str(item).partition(":")
        values = [soft, hard or soft]
    try:
        soft_limit, hard_limit = (int(str(part)) for part in values)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{name} {key}={item}: a limit is SOFT or SOFT:HARD") from None
    if hard_limit != -1 and (soft_limit == -1 or soft_limit > hard_limit):
        raise InvalidArgumentError(f"{name}: ulimit soft limit must be less than or equal to hard limit: {key}={item}")
    return Ulimit(soft_limit, hard_limit)


def address_pools(name: str, value: Any) -> tuple[AddressPool, ...]:
    """Pools as ``base=CIDR,size=PREFIX`` or as tables with these keys."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidArgumentError(f"{name}: {value!r} is no list of address pools")
    return tuple(read_pool(_pool_fields(name, each)) for each in value)


def _pool_fields(name: str, value: Any) -> dict[str, object]:
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    pairs = [field.partition("=") for field in text(name, value).split(",")]
    return {key.strip().lower(): item.strip() for key, _, item in pairs}


def address4(name: str, value: Any) -> str:
    """An IPv4 address."""
    return _address(name, value, 4)


def address6(name: str, value: Any) -> str:
    """An IPv6 address."""
    return _address(name, value, 6)


def binding_address(name: str, value: Any) -> str:
    """An address of either family."""
    (found,) = addresses(name, [value])
    return found


def bridge_address4(name: str, value: Any) -> str:
    """An IPv4 address of a bridge with its prefix length, ADDRESS/PREFIX."""
    return _bridge_address(name, value, 4)


def bridge_address6(name: str, value: Any) -> str:
    """An IPv6 address of a bridge with its prefix length, ADDRESS/PREFIX."""
    return _bridge_address(name, value, 6)


def cidr4(name: str, value: Any) -> str:
    """An IPv4 network."""
    return _cidr(name, value, 4)


def cidr6(name: str, value: Any) -> str:
    """An IPv6 network."""
    return _cidr(name, value, 6)


def mtu(name: str, value: Any) -> int:
    """Bytes; 0 leaves the choice to the host."""
    found = size(name, value)
    if found and not _MIN_MTU <= found <= _MAX_MTU:
        raise InvalidArgumentError(f"{name}: invalid MTU number: {found}: give {_MIN_MTU} to {_MAX_MTU}")
    return found


def only(allowed: object, remedy: str) -> Callable[[str, Any], object]:
    """A function that accepts one value of an option that Docker has, and refuses the others with the remedy."""

    def convert(name: str, value: Any) -> object:
        found = flag(name, value) if isinstance(allowed, bool) else value
        if found != allowed and str(found) != str(allowed):
            raise InvalidArgumentError(f"{name}: {value!r} is not supported: {remedy}")
        return found

    return convert


def _address(name: str, value: Any, version: int) -> str:
    found = binding_address(name, value)
    if ipaddress.ip_address(found).version != version:
        raise InvalidArgumentError(f"{name}: {found} is not an IPv{version} address")
    return found


def _bridge_address(name: str, value: Any, version: int) -> str:
    try:
        found = ipaddress.ip_interface(text(name, value))
    except ValueError:
        raise InvalidArgumentError(f"{name}: {value!r}: invalid CIDR address: give ADDRESS/PREFIX") from None
    network = found.network
    if found.version != version or "/" not in value or network.num_addresses <= _LEAST_ADDRESSES:
        raise InvalidArgumentError(
            f"{name}: {value!r} is not an IPv{version} address with a prefix that leaves room for containers"
        )
    if found.ip == network.network_address or (version == 4 and found.ip == network.broadcast_address):
        raise InvalidArgumentError(
            f"{name}: {value} is the network itself: give the bridge's address, such as {network[1]}/{network.prefixlen}"
        )
    return str(found)


def _cidr(name: str, value: Any, version: int) -> str:
    try:
        found = ipaddress.ip_network(text(name, value), strict=False)
    except ValueError:
        raise InvalidArgumentError(f"{name}: {value!r}: invalid CIDR address: give ADDRESS/PREFIX") from None
    if found.version != version or "/" not in value:
        raise InvalidArgumentError(f"{name}: {value!r} is not an IPv{version} network")
    return str(found)
