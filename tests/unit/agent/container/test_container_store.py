"""Container database, events, signal names and files of /etc."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from agent.container import etc_files
from agent.container.model import (
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerMount,
    ContainerState,
    EndpointSettings,
    MountKind,
    RunStatus,
)
from agent.container.store import ContainerStore
from agent.event_bus import QUEUE_LIMIT, EventBus
from covey import signals
from covey.errors import AlreadyExistsError, InvalidArgumentError, LaggedError


def config(digit: str = "a", **changes: object) -> ContainerConfig:
    return ContainerConfig(
        **{"id": digit * 64, "name": f"name-{digit}", "image": "i", "image_id": "x", "args": ("x",), **changes}
    )


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = config(labels={"a": "b"}, mounts=(ContainerMount(kind=MountKind.VOLUME, target="/x", source="v"),))
    store = ContainerStore(tmp_path / "db")
    store.insert(Container(made, ContainerState()))
    store.save_state(made.id, ContainerState(status=RunStatus.RUNNING, pid=7), starting=True, pid_ticks=99)
    store.close()
    [row] = ContainerStore(tmp_path / "db").load()
    assert row.container.config == made
    assert (row.container.state.pid, row.starting, row.pid_ticks) == (7, True, 99)


def test_a_name_in_use_is_refused(tmp_path: Path) -> None:
    store = ContainerStore(tmp_path / "db")
    store.insert(Container(config("a"), ContainerState()))
    store.insert(Container(config("b"), ContainerState()))
    with pytest.raises(AlreadyExistsError, match="name-a"):
        store.insert(Container(config("c", name="name-a"), ContainerState()))
    with pytest.raises(AlreadyExistsError, match="name-a"):
        store.save_config(config("b", name="name-a"))
    assert [r.container.name for r in store.load()] == ["name-a", "name-b"]


async def test_a_lagging_reader_gets_the_error_after_its_queued_events() -> None:
    bus = EventBus()
    with bus.subscribe() as lagging, bus.subscribe() as prompt:
        for number in range(QUEUE_LIMIT + 5):
            bus.emit(ContainerEvent(number, "start", config()))
            assert (await prompt.get()).time_ns == number
        assert [(await lagging.get()).time_ns for _ in range(QUEUE_LIMIT)] == list(range(QUEUE_LIMIT))
        with pytest.raises(LaggedError):
            await lagging.get()


@pytest.mark.parametrize(
    ("text", "number"), [("TERM", 15), ("sigterm", 15), ("9", 9), ("SIGRTMIN+3", signal.SIGRTMIN + 3)]
)
def test_signal_names_and_numbers_are_parsed(text: str, number: int) -> None:
    assert signals.parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "SIGNOPE", "65", "RTMIN-1", "-9", "_DFL"])
def test_an_unknown_signal_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        signals.parse_signal(text)


def test_the_hosts_file_has_extra_hosts_and_the_containers_addresses() -> None:
    made = config(domainname="d", networks=(EndpointSettings(name="n", ip="10.0.0.3"),), extra_hosts=("six:fd00::1",))
    lines = etc_files.hosts(made, "h", "ignored").splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-2:] == ["fd00::1\tsix", "10.0.0.3\th.d h"]


def test_resolv_conf_is_the_hosts_unless_configured() -> None:
    host = "nameserver 9.9.9.9\nsearch lan\n"
    assert etc_files.resolv_conf(config(), host) == host
    assert etc_files.resolv_conf(config(dns=("1.1.1.1",)), host) == "nameserver 1.1.1.1\nsearch lan\n"
    assert etc_files.resolv_conf(config(dns_search=(".",)), host) == "nameserver 9.9.9.9\n"
    assert etc_files.resolv_conf(config(dns_search=("a", "b")), host) == "nameserver 9.9.9.9\nsearch a b\n"


@pytest.mark.parametrize(
    ("given", "search", "options"),
    [
        ({}, "search lan\n", "options timeout:3 ndots:0\n"),
        ({"dns_search": ("a.b",)}, "search a.b\n", "options timeout:3 ndots:0\n"),
        ({"dns_search": (".",)}, "", "options timeout:3 ndots:0\n"),
        ({"dns_options": ("ndots:2",)}, "search lan\n", "options ndots:2\n"),
        ({"dns_options": ("rotate",)}, "search lan\n", "options rotate ndots:0\n"),
        ({"dns": ("1.2.3.4",)}, "search lan\n", "options timeout:3 ndots:0\n"),
    ],
)
def test_a_container_that_asks_the_resolver_keeps_the_hosts_search_domains_and_options(given, search, options) -> None:
    """The options are those of Docker 20.10 with the same flags."""
    host = "nameserver 9.9.9.9\nsearch lan\noptions timeout:3\n"
    found = etc_files.resolv_conf(config(resolver="127.0.0.11", **given), host)
    assert found == f"nameserver 127.0.0.11\n{search}{options}"
