"""What a scheduling filter is: a condition on a node, with its own sentence and its own suggestions. Pure.

Invariant: a filter decides from the request and the load of nodes alone. What it proposes is only a candidate: ``manager.explain`` shows
a change only if all filters accept a node after it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec

from covey.objects import Node, Task
from manager.scheduler.node_load import NodeLoad
from manager.scheduler.request import PlacementRequest
from manager.store.view import View


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change that may let a task be placed: the node or the task as it would be, or tasks that would be gone.

    ``text`` says it as an order ("activate node n3"); ``command`` does it, and is empty if no command can.
    """

    text: str
    command: str = ""
    node: Node | None = None
    task: Task | None = None
    ended: tuple[str, ...] = ()


class WaitingTask(msgspec.Struct, frozen=True):
    """A task that no node can take, with its request and the cluster in which it waits."""

    task: Task
    request: PlacementRequest
    view: View

    @property
    def service_name(self) -> str:
        service = self.view.services.get(self.task.service_id)
        return service.spec.annotations.name if service is not None else self.task.service_annotations.name


class Filter(ABC):
    """A condition that a node must meet to be given a task."""

    name: ClassVar[str]
    """One or two words: ``resources``."""
    sentence: ClassVar[str]
    """The refusal in Docker's words, with a placeholder for the number of nodes."""

    @abstractmethod
    def passes(self, request: PlacementRequest, node: Node, load: NodeLoad) -> bool:
        """Whether the node can take one more task with the request."""

    def detail(self, _request: PlacementRequest, _refused: Sequence[NodeLoad]) -> str:
        """What of the request the nodes do not meet, without their number; empty if the sentence says it all."""
        return ""

    def changes(self, _waiting: WaitingTask, _refused: Sequence[NodeLoad]) -> Iterable[Change]:
        """Single changes that would make the filter pass, the best first. Each of the nodes is refused by this filter alone."""
        return ()


def count_of_nodes(number: int) -> str:
    return f"{number} node" if number == 1 else f"{number} nodes"


def node_name(node: Node) -> str:
    """The name by which people know the node."""
    return node.description.hostname or node.id
