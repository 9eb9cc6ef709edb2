"""Attachments of an agent's containers over a leader in memory: asked for, kept over a restart, given back."""

import asyncio
from typing import Any

import pytest

from agent.container.model import ContainerConfig, NetworkRequest
from agent.endpoint.attachments import Attachments, HeldAttachment
from covey.errors import NotFoundError
from covey.objects import NetworkAttachment, Task, TaskStatus
from covey.states import TaskState
from coveypb.v1 import dispatcher_pb2

CONFIG = ContainerConfig(id="c" * 64, name="web", image="i", image_id="i", args=("x",), hostname="h")
REQUEST = NetworkRequest(network="open", aliases=("alias",), ip="10.0.1.7")


class Leader:
    """Dispatcher that assigns each attachment to the agent before it answers."""

    def __init__(self, attachments: Attachments) -> None:
        self.attachments = attachments
        self.requests: list[dispatcher_pb2.AttachNetworkRequest] = []
        self.statuses: list[tuple[str, TaskState]] = []
        self.assigns = True
        attachments.bind(lambda task_id, status: self.statuses.append((task_id, status.state)))
        attachments.set_dispatcher(self)
        attachments.is_member = True

    async def AttachNetwork(self, request: Any, timeout: float) -> Any:  # noqa: N802, ASYNC109 - as gRPC has it
        assert timeout > 0
        self.requests.append(request)
        if self.assigns:
            self.attachments.assign(task(request.task_id))
        return dispatcher_pb2.AttachNetworkResponse(network_id="net", address="10.0.1.7/24")


def task(task_id: str, *, address: str = "10.0.1.7/24") -> Task:
    return Task(
        id=task_id, attached_container_id=CONFIG.id, desired_state=TaskState.RUNNING,
        status=TaskStatus(state=TaskState.ASSIGNED), networks=(NetworkAttachment(network_id="net", address=address),),
    )  # fmt: skip


async def test_a_container_gets_its_address_and_names_and_gives_the_attachment_back():
    attachments = Attachments()
    leader = Leader(attachments)
    held = await attachments.attach(CONFIG, REQUEST)
    (sent,) = leader.requests
    assert (held.network_id, held.address, held.task_id) == ("net", "10.0.1.7/24", sent.task_id)
    assert (sent.container_name, sent.hostname, sent.address) == ("web", "h", "10.0.1.7")
    assert list(sent.aliases) == ["alias", "c" * 12]
    attachments.release(CONFIG.id)
    attachments.release(CONFIG.id)
    assert leader.statuses == [(held.task_id, TaskState.RUNNING), (held.task_id, TaskState.SHUTDOWN)]


async def test_an_attachment_that_is_given_up_is_ended():
    attachments = Attachments()
    leader = Leader(attachments)
    leader.assigns = False
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await attachments.attach(CONFIG, REQUEST)
    assert leader.statuses == [(leader.requests[0].task_id, TaskState.SHUTDOWN)]


async def test_outside_a_cluster_there_is_no_such_network():
    with pytest.raises(NotFoundError, match="network open not found"):
        await Attachments().attach(CONFIG, REQUEST)


def test_after_a_restart_a_container_keeps_what_it_holds_and_the_rest_is_given_back():
    attachments = Attachments()
    leader = Leader(attachments)
    attachments.hold(HeldAttachment(CONFIG.id, "net", "10.0.1.7/24"))
    attachments.assign(task("mine"))
    attachments.assign(task("again"))
    attachments.assign(task("other", address="10.0.1.8/24"))
    assert leader.statuses == [
        ("mine", TaskState.RUNNING), ("again", TaskState.SHUTDOWN), ("other", TaskState.SHUTDOWN),
    ]  # fmt: skip
    assert attachments.unassigned() == []
    lost = attachments.withdraw("mine")
    assert lost == HeldAttachment(CONFIG.id, "net", "10.0.1.7/24", "mine")
    assert attachments.withdraw("mine") is None


def test_what_the_managers_do_not_know_any_more_is_lost():
    attachments = Attachments()
    Leader(attachments)
    held = HeldAttachment(CONFIG.id, "net", "10.0.1.7/24")
    attachments.hold(held)
    assert attachments.unassigned() == [held]
    assert attachments.unassigned() == []
