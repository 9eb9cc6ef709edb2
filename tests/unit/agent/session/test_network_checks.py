"""Checks of a host's networks that a manager asks for."""

from __future__ import annotations

from agent.network.plan.difference_text import DifferenceText
from agent.session.network_checks import MAX_DIFFERENCES, MAX_TEXT, MAX_WAITING_CHECKS, NetworkCheckQueue
from covey.errors import UnavailableError
from coveypb.v1.dispatcher_pb2 import CheckNetworks
from tests.support.no_networks import NoNetworks

ONE = DifferenceText("host", "missing", "route", "x", "")


async def test_a_check_reports_and_a_repair_says_what_is_left() -> None:
    queue = NetworkCheckQueue(NoNetworks([ONE]))
    queue.add(CheckNetworks(check_id="1"))
    queue.add(CheckNetworks(check_id="2", repair=True))
    first, second = await queue.next_result(), await queue.next_result()
    assert (first.check_id, len(first.differences)) == ("1", 1)
    assert (second.check_id, len(second.differences), len(second.remaining)) == ("2", 1, 0)
    assert first.differences[0].item == "route"


async def test_a_result_is_bounded() -> None:
    long = DifferenceText("host", "altered", "chain", "x" * 10 * MAX_TEXT, "y" * 10 * MAX_TEXT)
    queue = NetworkCheckQueue(NoNetworks([long] * (MAX_DIFFERENCES + 7)))
    queue.add(CheckNetworks(check_id="1"))
    result = await queue.next_result()
    assert (result.dropped_strangers, result.dropped_unknown) == (3, 4)
    assert (len(result.differences), result.omitted, len(result.differences[0].wanted)) == (
        MAX_DIFFERENCES,
        7,
        MAX_TEXT,
    )
    assert result.ByteSize() < 4 << 20


async def test_a_failure_is_told() -> None:
    class Failing(NoNetworks):
        async def verify(self) -> tuple[()]:
            raise UnavailableError("no netlink")

    queue = NetworkCheckQueue(Failing())
    queue.add(CheckNetworks(check_id="1"))
    assert (await queue.next_result()).error == "no netlink"


async def test_of_too_many_requests_the_oldest_goes() -> None:
    queue = NetworkCheckQueue(NoNetworks())
    for number in range(MAX_WAITING_CHECKS + 1):
        queue.add(CheckNetworks(check_id=str(number)))
    assert (await queue.next_result()).check_id == "1"


async def test_a_request_with_namespaces_is_answered_with_what_the_kernel_holds() -> None:
    queue = NetworkCheckQueue(NoNetworks([ONE]))
    queue.add(CheckNetworks(check_id="1", namespaces=["network/x", "host"]))
    result = await queue.next_result()
    assert (result.check_id, result.reading, len(result.differences)) == ("1", b"host network/x", 0)
