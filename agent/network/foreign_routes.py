"""Routes of the host itself, as the managers learn them: networks of the cluster avoid these addresses. Pure."""

from collections.abc import Iterable

from agent.network import model
from covey.objects import HostRoute

MAX_ROUTES = 256
OWN_DEVICES = ("covey", "cv", "br-", "docker", "veth")
"""Prefixes of devices that lead to containers. Their addresses are chosen by hosts, which look after overlaps themselves."""
_NOT_ROUTED = ("127.", "169.254.", "224.", "fe80:", "ff")


def foreign_routes(routes: Iterable[model.HostRoute]) -> tuple[HostRoute, ...]:
    """The routes that do not lead to containers, at most ``MAX_ROUTES``, in order."""
    found = {
        HostRoute(destination=route.destination, device=route.device)
        for route in routes
        if not route.device.startswith(OWN_DEVICES) and not route.destination.startswith(_NOT_ROUTED)
    }
    return tuple(sorted(found, key=lambda route: (route.destination, route.device)))[:MAX_ROUTES]
