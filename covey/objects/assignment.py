"""Assignments: the objects that the dispatcher sends to a node, by kind and id.

Invariant: a node gets only what its tasks need. Network endpoints and virtual services are sent for the networks of its own tasks only.
"""

from enum import IntEnum

from covey.objects.base import Struct
from covey.objects.network import Network
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


class NetworkEndpoint(Struct, frozen=True, kw_only=True):
    """One task on one network. ``id`` is TASK/NETWORK, ``host`` the underlay address of the node, ``address`` has no prefix length.
    ``ready`` means that VIPs and DNS may point to the task: it runs, is healthy and is not about to stop.
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


class VirtualService(Struct, frozen=True, kw_only=True):
    """One service on one network. ``id`` is SERVICE/NETWORK, ``address`` its VIP, which is empty with DNSRR."""

    id: str
    network_id: str = ""
    service_id: str = ""
    name: str = ""
    aliases: tuple[str, ...] = ()
    mode: EndpointMode = EndpointMode.VIP
    address: str = ""


Assigned = Task | Secret | Config | Network | NetworkEndpoint | VirtualService


class AssignmentChange(Struct, frozen=True, kw_only=True):
    """One object that is added or replaced, or removed if ``item`` is None."""

    kind: AssignmentKind = AssignmentKind.TASK
    id: str = ""
    item: Assigned | None = None
