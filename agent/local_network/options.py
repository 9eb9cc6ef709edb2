"""Driver options of local networks, read in Docker's words. Pure.

As in Docker, an option that the driver does not know is kept and has no effect, and a value that it cannot read is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_address

import msgspec

from agent.local_network.model import BRIDGE_NAME
from covey.errors import InvalidArgumentError

_BRIDGE = "com.docker.network.bridge."
DEFAULT_BRIDGE = f"{_BRIDGE}default_bridge"
ICC = f"{_BRIDGE}enable_icc"
MASQUERADE = f"{_BRIDGE}enable_ip_masquerade"
HOST_BINDING = f"{_BRIDGE}host_binding_ipv4"
GATEWAY_MODE_4 = f"{_BRIDGE}gateway_mode_ipv4"
GATEWAY_MODE_6 = f"{_BRIDGE}gateway_mode_ipv6"
INHIBIT_IPV4 = f"{_BRIDGE}inhibit_ipv4"
MTU = "com.docker.network.driver.mtu"
IFACE_PREFIX = "com.docker.network.container_iface_prefix"
MACVLAN_MODE, IPVLAN_MODE, IPVLAN_FLAG, PARENT = "macvlan_mode", "ipvlan_mode", "ipvlan_flag", "parent"

MAX_DEVICE_NAME = 15
MAX_MTU = 65_535
DEFAULT_MTU = 1500
"""What the default bridge shows unless an option of the daemon says otherwise; it has the MTU of the way out, if that is smaller."""
MAX_VLAN = 4094
MIN_MTU, MIN_MTU_IPV6 = 68, 1280
_TRUE, _FALSE = {"1", "t", "T", "TRUE", "true", "True"}, {"0", "f", "F", "FALSE", "false", "False"}
_MACVLAN_MODES = ("bridge", "private", "vepa", "passthru")
_IPVLAN_MODES = ("l2", "l3", "l3s")
_IPVLAN_FLAGS = ("bridge", "private", "vepa")


class GatewayMode(StrEnum):
    """How a bridge network's addresses of one family meet the outside."""

    NAT = "nat"
    NAT_UNPROTECTED = "nat-unprotected"
    ROUTED = "routed"
    ISOLATED = "isolated"


class BridgeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a bridge network. `mtu` 0 and empty texts leave the choice to the host."""

    name: str = ""
    icc: bool = True
    masquerade: bool = True
    mode4: GatewayMode = GatewayMode.NAT
    mode6: GatewayMode = GatewayMode.NAT
    inhibit_ipv4: bool = False
    host_binding: str = ""
    mtu: int = 0
    iface_prefix: str = "eth"


class VlanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a macvlan or ipvlan network. `parent` is a device, DEVICE.VLAN, or empty for an internal network of this host."""

    parent: str = ""
    mode: str = ""
    flag: str = ""
    mtu: int = 0
    iface_prefix: str = "eth"


def read_bridge_options(options: Mapping[str, str], *, internal: bool = False) -> BridgeOptions:
    """The options of a bridge network. Raises InvalidArgumentError in Docker's words."""
    name = options.get(BRIDGE_NAME, "")
    _check_device_name(name)
    modes = [_gateway_mode(options, key, internal=internal) for key in (GATEWAY_MODE_4, GATEWAY_MODE_6)]
    return BridgeOptions(
        name=name,
        icc=_flag(options, ICC, default=True),
        masquerade=_flag(options, MASQUERADE, default=True),
        mode4=modes[0],
        mode6=modes[1],
        inhibit_ipv4=_flag(options, INHIBIT_IPV4, default=False),
        host_binding=_host_binding(options),
        mtu=read_mtu(options),
        iface_prefix=_iface_prefix(options),
    )


def read_vlan_options(driver: str, options: Mapping[str, str]) -> VlanOptions:
    """The options of a macvlan or ipvlan network. Raises InvalidArgumentError in Docker's words."""
    is_macvlan = driver == "macvlan"
    key, modes = (MACVLAN_MODE, _MACVLAN_MODES) if is_macvlan else (IPVLAN_MODE, _IPVLAN_MODES)
    mode = options.get(key, "") or modes[0]
    if mode not in modes:
        raise InvalidArgumentError(
            f"requested {driver} mode '{mode}' is not valid, '{modes[0]}' mode is the {driver} driver default"
        )
    flag = "" if is_macvlan else options.get(IPVLAN_FLAG, "") or _IPVLAN_FLAGS[0]
    if flag and flag not in _IPVLAN_FLAGS:
        raise InvalidArgumentError(
            f"requested ipvlan flag '{flag}' is not valid, 'bridge' flag is the ipvlan driver default"
        )
    parent = options.get(PARENT, "")
    _check_parent(driver, parent)
    return VlanOptions(parent=parent, mode=mode, flag=flag, mtu=read_mtu(options), iface_prefix=_iface_prefix(options))


def read_mtu(options: Mapping[str, str]) -> int:
    text = options.get(MTU, "")
    if not text:
        return 0
    try:
        found = int(text)
    except ValueError:
        raise InvalidArgumentError(
            f'failed to parse {MTU} value: {text} (strconv.Atoi: parsing "{text}": invalid syntax)'
        ) from None
    if found < 0 or found > MAX_MTU or 0 < found < MIN_MTU:
        raise InvalidArgumentError(f"invalid MTU number: {found}")
    return found


def _flag(options: Mapping[str, str], key: str, *, default: bool) -> bool:
    text = options.get(key)
    if text is None:
        return default
    if text not in _TRUE | _FALSE:
        raise InvalidArgumentError(
            f'failed to parse {key} value: {text} (strconv.ParseBool: parsing "{text}": invalid syntax)'
        )
    return text in _TRUE


def _gateway_mode(options: Mapping[str, str], key: str, *, internal: bool) -> GatewayMode:
    text = options.get(key, "") or GatewayMode.NAT
    try:
        mode = GatewayMode(text)
    except ValueError:
        raise InvalidArgumentError(f"failed to parse {key} value: {text} (unknown gateway mode {text})") from None
    if mode is GatewayMode.ISOLATED and not internal:
        raise InvalidArgumentError(f"gateway mode 'isolated' can only be used for an internal network: {key}")
    return mode


def _host_binding(options: Mapping[str, str]) -> str:
    text = options.get(HOST_BINDING, "")
    try:
        return str(ip_address(text)) if text else ""
    except ValueError:
        raise InvalidArgumentError(f"failed to parse {HOST_BINDING} value: {text} (nil ip)") from None


def _iface_prefix(options: Mapping[str, str]) -> str:
    prefix = options.get(IFACE_PREFIX, "") or "eth"
    if len(prefix) > MAX_DEVICE_NAME - 3 or not _is_device_name(prefix) or prefix == "lo":
        raise InvalidArgumentError(f"invalid {IFACE_PREFIX}: {prefix!r} cannot begin the name of an interface")
    return prefix


def _check_device_name(name: str) -> None:
    if name and (len(name) > MAX_DEVICE_NAME or not _is_device_name(name)):
        raise InvalidArgumentError(
            f"invalid bridge name {name!r}: a device name has at most {MAX_DEVICE_NAME} characters, without spaces, slashes and colons"
        )


def _check_parent(driver: str, parent: str) -> None:
    if parent == "lo":
        raise InvalidArgumentError("loopback interface is not a valid parent link")
    if parent and (len(parent) > MAX_DEVICE_NAME or not _is_device_name(parent)):
        raise InvalidArgumentError(f"{driver} parent interface {parent!r} is not a valid device name")
    device, _, number = parent.rpartition(".")
    if device and number.isdecimal() and not 1 <= int(number) <= MAX_VLAN:
        raise InvalidArgumentError(f"vlan id must be between 1-{MAX_VLAN}, received: {number}")


def _is_device_name(name: str) -> bool:
    return name.isascii() and name.isprintable() and name not in {".", ".."} and not set(name) & set(' /:"\\')
