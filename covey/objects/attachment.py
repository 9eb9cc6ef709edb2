"""Network attachments: the addresses of a task or a node on a network."""

from covey.objects.base import Struct


class NetworkAttachment(Struct, frozen=True, kw_only=True):
    """Assigned by the allocator. Addresses have their prefix length: ``10.0.1.5/24``, ``fd00::5/64``; a family that the network does not
    have is empty, and both are on networks of which each node gives the addresses itself. ``mac`` is empty in data of earlier versions:
    then the IPv4 address determines it.
    """

    network_id: str = ""
    address: str = ""
    aliases: tuple[str, ...] = ()
    address6: str = ""
    mac: str = ""
    driver_options: dict[str, str] = {}
