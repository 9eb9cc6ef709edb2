"""The driver options of overlay networks that Covey supports: the MTU, and the VXLAN id, which inspection shows and takes back. Pure.

Called by the manager, which validates the options, and by agents, which apply them.
"""

from collections.abc import Mapping

from covey.errors import InvalidArgumentError, UnsupportedError

MTU_OPTION = "com.docker.network.driver.mtu"
VNI_OPTION = "com.docker.network.driver.overlay.vxlanid_list"
MAX_VNI = (1 << 24) - 1
MIN_MTU = 576
MAX_MTU = 65_485


def check_network_options(network: str, options: Mapping[str, str]) -> None:
    """Refuses options that agents do not support.

    Raises:
        UnsupportedError: the option is not supported. InvalidArgumentError: its value is out of range. Both name network and option.
    """
    for option in sorted(options):
        if option not in (MTU_OPTION, VNI_OPTION):
            raise UnsupportedError(f"network {network}: the option {option!r} is not supported by Covey yet; remove it")
    requested_mtu(network, options)
    requested_vni(network, options)


def requested_vni(network: str, options: Mapping[str, str]) -> int:
    """The VXLAN id that the network asks for; 0 means any.

    Raises:
        InvalidArgumentError: the value is not one id within the bounds.
    """
    text = options.get(VNI_OPTION, "")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_VNI):
        raise InvalidArgumentError(
            f"network {network}: the option {VNI_OPTION} must be one number from 1 to {MAX_VNI}, not {text!r}"
        )
    return int(text)


def requested_mtu(network: str, options: Mapping[str, str]) -> int:
    """The MTU that the network asks for; 0 means the most that each host's own network carries.

    Raises:
        InvalidArgumentError: the value is not a number within the bounds.
    """
    text = options.get(MTU_OPTION, "")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and MIN_MTU <= int(text) <= MAX_MTU):
        raise InvalidArgumentError(
            f"network {network}: the option {MTU_OPTION} must be a number from {MIN_MTU} to {MAX_MTU}, not {text!r}"
        )
    return int(text)
