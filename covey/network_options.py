"""The options of an overlay network that Covey knows: its MTU. Pure.

Law: managers and the engine check what a user writes with the same words by which agents read it.
"""

from collections.abc import Mapping

from covey.errors import InvalidArgumentError, UnsupportedError

MTU_OPTION = "com.docker.network.driver.mtu"
MIN_MTU = 576
MAX_MTU = 65_485


def check_network_options(network: str, options: Mapping[str, str]) -> None:
    """Refuse an option that nobody would honour.

    Raises:
        UnsupportedError: Covey does not have it; InvalidArgumentError: its value cannot be. Both name network and option.
    """
    for option in sorted(options):
        if option != MTU_OPTION:
            raise UnsupportedError(f"network {network}: the option {option!r} is not supported by Covey yet; remove it")
    requested_mtu(network, options)


def requested_mtu(network: str, options: Mapping[str, str]) -> int:
    """The MTU that the network asks for; 0: as much as each host's own network carries.

    Raises:
        InvalidArgumentError: it is no number within the bounds.
    """
    text = options.get(MTU_OPTION, "")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and MIN_MTU <= int(text) <= MAX_MTU):
        raise InvalidArgumentError(
            f"network {network}: the option {MTU_OPTION} must be a number from {MIN_MTU} to {MAX_MTU}, not {text!r}"
        )
    return int(text)
