import asyncio
from pathlib import Path

import pytest

from agent.container.model import ContainerConfig, ContainerEvent, EndpointSettings
from engine.event_history import EventHistory
from engine.events import QUEUE, EventLog
from engine.translate import event


def made(number: int, kind: str = "image", **attributes: str) -> dict[str, object]:
    return event.message(kind, "tag", f"id{number}", {"name": f"n{number}", **attributes}, number)


async def test_the_history_survives_the_daemon(tmp_path: Path) -> None:
    first = EventLog(tmp_path)
    first.publish(made(1))
    keeper = asyncio.create_task(first.keep_history())
    await asyncio.sleep(0)
    first.publish(made(2))
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    second = EventLog(tmp_path)
    second.publish(made(3))
    async with second.subscribe(2) as (past, queue):
        assert [item["timeNano"] for item in past] == [2, 3]
        second.publish(made(4))
        assert (await queue.get())["timeNano"] == 4


async def test_a_subscriber_that_asks_for_no_past_gets_none(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.publish(made(1))
    async with log.subscribe() as (past, queue):
        assert past == []
        assert queue.empty()


async def test_a_subscriber_that_lags_is_ended(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    async with log.subscribe() as (_, queue):
        for number in range(QUEUE + 1):
            log.publish(made(number))
        items = [queue.get_nowait() for _ in range(QUEUE)]
    assert items[-1] is None


def test_the_history_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    history = EventHistory(tmp_path, segment_bytes=2000)
    for start in range(0, 200, 7):
        history.append([made(number) for number in range(start, start + 7)])
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000
    found = [item["timeNano"] for item in history.read(0)]
    assert found[-1] == 202
    assert found == list(range(found[0], 203))


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    history = EventHistory(tmp_path)
    history.append([made(1), made(2)])
    file = tmp_path / "events.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    history.append([made(3)])
    assert [item["timeNano"] for item in history.read(0)] == [1, 3]


def test_networks_are_connected_before_a_start_and_disconnected_after_the_end() -> None:
    networks = (EndpointSettings(name="bridge"), EndpointSettings(name="over", network_id="x1"))
    config = ContainerConfig(id="c1", name="c", image="i", image_id="i", args=("a",), networks=networks)
    start = event.of_container(ContainerEvent(5, "start", config), lambda name: f"id of {name}")
    assert [(item["Type"], item["Action"], item["Actor"]["ID"]) for item in start] == [
        ("network", "connect", "id of bridge"), ("network", "connect", "x1"), ("container", "start", "c1"),
    ]  # fmt: skip
    assert start[1]["Actor"]["Attributes"] == {"container": "c1", "name": "over", "type": "overlay"}
    end = event.of_container(ContainerEvent(6, "die", config), str)
    assert [item["Action"] for item in end] == ["die", "disconnect", "disconnect"]
    assert len(event.of_container(ContainerEvent(6, "kill", config), str)) == 1


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({"type": ["image"]}, True),
        ({"type": ["container", "image"]}, True),
        ({"type": ["daemon"]}, False),
        ({"image": ["host:5000/a"]}, True),
        ({"image": ["host:5000/a:1"]}, True),
        ({"image": ["host:5000/a:2"]}, False),
        ({"image": ["host"]}, False),
        ({"image": ["id1"]}, True),
        ({"container": ["id1"]}, False),
        ({"event": ["tag"]}, True),
        ({"event": ["pull"]}, False),
        ({"scope": ["local"]}, True),
        ({"scope": ["swarm"]}, False),
        ({"label": ["a=b"]}, True),
        ({"label": ["a=c"]}, False),
    ],
)
def test_filters_choose_events(filters: dict[str, list[str]], passes: bool) -> None:
    item = event.message("image", "tag", "id1", {"name": "host:5000/a:1", "a": "b"}, 1)
    assert event.matches(filters, item) is passes


def test_the_filter_of_an_object_takes_a_prefix_of_its_id_or_name() -> None:
    for kind in ("container", "volume", "network", "daemon", "plugin", "service", "node", "secret", "config"):
        item = event.message(kind, "create", "abcdef", {"name": "web-1"}, 1)
        assert event.matches({kind: ["abc"]}, item)
        assert event.matches({kind: ["web"]}, item)
        assert not event.matches({kind: ["b"]}, item)


def test_the_image_of_a_container_is_matched_with_its_tag() -> None:
    item = event.message("container", "start", "c1", {"name": "c", "image": "peer:1"}, 1)
    assert event.matches({"image": ["peer"]}, item)
    assert event.matches({"image": ["peer:1"]}, item)
    assert not event.matches({"image": ["peer:2"]}, item)
