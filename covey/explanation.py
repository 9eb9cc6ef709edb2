"""Why tasks of a service wait, and what a change of a service would lead to: answers of the managers to people. Pure data.

The messages of the same names in ``coveypb.v1.control`` have the same fields.
"""

from covey.objects.base import Struct
from covey.objects.service import ServiceSpec


class FilterRefusal(Struct, frozen=True, kw_only=True):
    """The nodes that one filter was the first to refuse. ``sentence`` is Docker's, ``detail`` names what is concerned; ``nodes`` are
    hostnames, at most ``MAX_NAMES``.
    """

    filter: str = ""
    count: int = 0
    sentence: str = ""
    detail: str = ""
    nodes: tuple[str, ...] = ()


class Suggestion(Struct, frozen=True, kw_only=True):
    """A single change after which ``places`` of the waiting tasks have a node. ``command`` is empty if no command makes it."""

    text: str = ""
    command: str = ""
    places: int = 0


class WaitingTasks(Struct, frozen=True, kw_only=True):
    """Tasks that wait for the same thing. ``cause`` is one of ``CAUSES``; ``tasks`` are names, at most ``MAX_NAMES`` of ``count``.

    ``near`` says for the nodes that lack least what they lack, if no single change helps.
    """

    cause: str = ""
    count: int = 0
    tasks: tuple[str, ...] = ()
    reason: str = ""
    refusals: tuple[FilterRefusal, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    near: tuple[str, ...] = ()


class ServiceExplanation(Struct, frozen=True, kw_only=True):
    """Why a service has not all its tasks. ``notes`` concern it as a whole, such as a paused update."""

    service_id: str = ""
    name: str = ""
    desired: int = 0
    running: int = 0
    waiting: tuple[WaitingTasks, ...] = ()
    notes: tuple[str, ...] = ()


class NodeTasks(Struct, frozen=True, kw_only=True):
    """Tasks that a node would have: ``added`` new ones, ``kept`` as they are, ``old`` ones of the former spec that stay."""

    node_id: str = ""
    hostname: str = ""
    added: int = 0
    kept: int = 0
    old: int = 0


class ServiceDryRun(Struct, frozen=True, kw_only=True):
    """What a change of a service would lead to: the specs before (None for a new service) and after, as they would be stored, and the
    placement once all that can happen has happened.
    """

    before: ServiceSpec | None = None
    after: ServiceSpec = ServiceSpec()
    nodes: tuple[NodeTasks, ...] = ()
    explanation: ServiceExplanation = ServiceExplanation()


CAUSES = ("placement", "dependency", "network", "predecessor", "restart", "start", "ended", "nodes")
MAX_NAMES = 10
