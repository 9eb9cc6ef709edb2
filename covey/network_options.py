"""The driver options of overlay networks that Covey acts on: MTU, encryption, multicast, and the VXLAN id, which inspection shows. Pure.

Called by the manager, which validates the options, and by agents, which apply them.
"""

from collections.abc import Mapping

from covey.errors import InvalidArgumentError

PREDEFINED_LABEL = "com.docker.swarm.predefined"
"""Label of the networks ``bridge`` and ``host`` of every node, as services name them. Clients do not see these objects."""
MTU_OPTION = "com.docker.network.driver.mtu"
MAC_OPTION = "com.docker.network.endpoint.macaddress"
"""Option of one attachment: the MAC address of a single container."""
ADDRESSES_OPTION = "covey.addresses"
"""Option of a service's attachment: the fixed addresses of its slots, with ``;`` between. Clients of Docker keep options in updates."""
VNI_OPTION = "com.docker.network.driver.overlay.vxlanid_list"
ENCRYPTED_OPTION = "encrypted"
MESH_SNAT_OPTION = "covey.mesh.snat"
"""Option of the ingress network: tasks see the node that a client came in at, not the client."""
MULTICAST_OPTION = "covey.multicast"
"""Option of an overlay network: broadcasts and multicasts reach its containers on other hosts."""
MAX_OPTIONS = 64
MAX_OPTION_CHARACTERS = 1024
MAX_VNI = (1 << 24) - 1
MIN_MTU = 576
MAX_MTU = 65_485


def check_network_options(network: str, options: Mapping[str, str]) -> None:
    """Refuses values out of range. As in Docker, options that nobody knows are kept and shown.

    Raises:
        InvalidArgumentError: a value is out of range. It names network and option.
    """
    if len(options) > MAX_OPTIONS or any(
        len(text) > MAX_OPTION_CHARACTERS for item in options.items() for text in item
    ):
        raise InvalidArgumentError(
            f"network {network}: at most {MAX_OPTIONS} options of {MAX_OPTION_CHARACTERS} characters are possible; remove some"
        )
    requested_mtu(network, options)
    requested_vni(network, options)
    uses_mesh_snat(network, options)
    carries_multicast(network, options)


def uses_mesh_snat(network: str, options: Mapping[str, str]) -> bool:
    """Whether the routing mesh of an ingress network with these options hides clients behind their entry node.

    Raises:
        InvalidArgumentError: the value is neither true nor false.
    """
    return _switch(network, options, MESH_SNAT_OPTION)


def carries_multicast(network: str, options: Mapping[str, str]) -> bool:
    """Whether hosts send copies of broadcasts and multicasts of a network with these options to each other.

    Raises:
        InvalidArgumentError: the value is neither true nor false.
    """
    return _switch(network, options, MULTICAST_OPTION)


def is_encrypted(options: Mapping[str, str]) -> bool:
    """Whether the traffic of a network with these options is encrypted between hosts."""
    return options.get(ENCRYPTED_OPTION, "false").lower() not in ("false", "0")


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


def _switch(network: str, options: Mapping[str, str], option: str) -> bool:
    text = options.get(option, "false")
    if text not in ("true", "false"):
        raise InvalidArgumentError(f"network {network}: the option {option} must be true or false, not {text!r}")
    return text == "true"
