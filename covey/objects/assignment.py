"""What a node needs to know, as the dispatcher tells it: whole objects by (kind, id), then versioned differences.

Law: what a node need not know it is not sent. Endpoints and virtual services are told for the networks of the node's own tasks only.
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
    """One task on one network. ``id`` is TASK/NETWORK; ``host`` the underlay address of its node; ``address`` without a prefix
    length. ``ready`` says that virtual addresses and DNS may point to it (running, healthy, not on its way out).
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
    """One service on one network. ``id`` is SERVICE/NETWORK; ``address`` is empty with DNSRR."""

    id: str
    network_id: str = ""
    service_id: str = ""
    name: str = ""
    aliases: tuple[str, ...] = ()
    mode: EndpointMode = EndpointMode.VIP
    address: str = ""


Assigned = Task | Secret | Config | Network | NetworkEndpoint | VirtualService


class AssignmentChange(Struct, frozen=True, kw_only=True):
    """``item`` None removes (kind, id)."""

    kind: AssignmentKind = AssignmentKind.TASK
    id: str = ""
    item: Assigned | None = None
