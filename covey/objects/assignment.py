"""Assignments: the objects that the dispatcher sends to a node, by kind and id.

Invariant: a node gets only what its work needs: endpoints and virtual services of the networks of its own tasks, and the ingress network,
on which every node answers for the services that publish ports.
"""

from enum import IntEnum

from covey.objects.base import Struct
from covey.objects.endpoint import PortConfig
from covey.objects.network import Network
from covey.objects.node import WireGuardDescription
from covey.objects.secret import Config, Secret
from covey.objects.task import Task
from covey.states import EndpointMode


class AssignmentKind(IntEnum):
    TASK = 0
    SECRET = 1
    CONFIG = 2
    NETWORK = 3
    ENDPOINT = 4
    VIRTUAL_SERVICE = 5
    NODE_ENDPOINT = 6


class NetworkEndpoint(Struct, frozen=True, kw_only=True):
    """One task on one network. ``id`` is TASK/NETWORK, ``host`` the underlay address of the node, in either family. Addresses have no
    prefix length. ``mac`` is empty in data of earlier versions: then the IPv4 address determines it.

    ``ready`` means that VIPs and DNS may point to the task: it runs, is healthy and is not about to stop. ``draining`` means that it is
    told to stop and may still run: it gets no new connections and keeps those it has. Never both.
    """

    id: str
    network_id: str = ""
    task_id: str = ""
    node_id: str = ""
    host: str = ""
    address: str = ""
    service_id: str = ""
    service_name: str = ""
    task_name: str = ""
    hostname: str = ""
    aliases: tuple[str, ...] = ()
    ready: bool = False
    address6: str = ""
    mac: str = ""
    draining: bool = False
    node_name: str = ""


class VirtualService(Struct, frozen=True, kw_only=True):
    """One service on one network. ``id`` is SERVICE/NETWORK, ``address`` and ``address6`` its VIPs, which are empty with DNSRR.
    ``ports`` are those that it publishes in ingress mode, on the ingress network; on others all of them, for SRV records.
    """

    id: str
    network_id: str = ""
    service_id: str = ""
    name: str = ""
    aliases: tuple[str, ...] = ()
    mode: EndpointMode = EndpointMode.VIP
    address: str = ""
    address6: str = ""
    ports: tuple[PortConfig, ...] = ()


class NodeEndpoint(Struct, frozen=True, kw_only=True):
    """One node on one network. ``id`` is NODE/NETWORK, ``host`` its underlay address. ``address``, ``address6`` and ``mac`` are the node's
    own, on the ingress network; ``addresses`` are those that it has as a client of the routing mesh, ``wireguard`` is its key, on encrypted
    networks.
    """

    id: str
    network_id: str = ""
    node_id: str = ""
    hostname: str = ""
    host: str = ""
    address: str = ""
    address6: str = ""
    mac: str = ""
    wireguard: WireGuardDescription | None = None
    addresses: tuple[str, ...] = ()


Assigned = Task | Secret | Config | Network | NetworkEndpoint | VirtualService | NodeEndpoint


class AssignmentChange(Struct, frozen=True, kw_only=True):
    """One object that is added or replaced, or removed if ``item`` is None."""

    kind: AssignmentKind = AssignmentKind.TASK
    id: str = ""
    item: Assigned | None = None
