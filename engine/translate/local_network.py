"""Networks of one host as Docker's JSON: requests to create them, the networks as clients see them, and the containers on them."""

from collections.abc import Iterable, Mapping
from typing import Any

from agent.container.model import Container
from agent.local_network.model import LocalNetwork, NetworkRequirements
from covey.errors import InvalidArgumentError, PermissionDeniedError
from covey.objects.network import IPAM
from engine.translate.json_fields import JsonFields
from engine.translate.network import IPAM_TABLE
from engine.translate.times import rfc3339

SWARM_SCOPES = ("swarm", "global")
SWARM_DRIVERS = ("overlay",)


def is_swarm_request(body: Any) -> bool:
    """Whether a request to create a network means one of the cluster: by its scope, else by its driver."""
    return has_swarm_scope(body) or JsonFields(body).text("Driver") in SWARM_DRIVERS


def has_swarm_scope(body: Any) -> bool:
    return JsonFields(body).text("Scope") in SWARM_SCOPES


def read_requirements(body: Any) -> NetworkRequirements:
    """The network of this host that a request asks for.

    Raises:
        InvalidArgumentError, UnsupportedError, PermissionDeniedError: names the field.
    """
    fields = JsonFields(body)
    fields.flag("CheckDuplicate")
    scope = fields.text("Scope")
    if scope not in {"", "local"}:
        raise InvalidArgumentError(f"invalid scope {scope!r} of a network: use local, swarm or global")
    if fields.flag("Ingress"):
        raise PermissionDeniedError("Ingress network can only be global scope network")
    config_from = fields.read("ConfigFrom", lambda source: source.text("Network"))
    ipv4 = fields.flag("EnableIPv4") or fields.raw("EnableIPv4") is None
    found = NetworkRequirements(
        name=fields.text("Name"),
        driver=fields.text("Driver"),
        options=dict(fields.text_map("Options")),
        labels=dict(fields.text_map("Labels")),
        internal=fields.flag("Internal"),
        attachable=fields.flag("Attachable"),
        ipv4=ipv4,
        ipv6=fields.flag("EnableIPv6"),
        ipam=fields.read("IPAM", IPAM_TABLE.read) or IPAM(),
        config_only=fields.flag("ConfigOnly"),
        config_from=config_from or "",
    )
    fields.refuse_unsupported()
    return found


def write(network: LocalNetwork, containers: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A network as ``docker network ls`` and ``inspect`` show it, with the endpoints of running containers."""
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created_at_ns),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": IPAM_TABLE.write(network.ipam),
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": network.config_from},
        "ConfigOnly": network.config_only,
        "Containers": dict(containers or {}),
        "Options": network.options,
        "Labels": network.labels,
    }


def containers_on(network_id: str, containers: Iterable[Container]) -> dict[str, Any]:
    """``Containers`` of an inspected network: the endpoints of this host's running containers."""
    return {
        container.id: {
            "Name": container.name,
            "EndpointID": item.endpoint_id,
            "MacAddress": item.mac,
            "IPv4Address": f"{item.ip}/{item.prefix}" if item.ip else "",
            "IPv6Address": f"{item.ip6}/{item.prefix6}" if item.ip6 else "",
        }
        for container in containers
        if container.state.running
        for item in container.config.networks
        if item.network_id == network_id
    }
