"""Ports of a container as `docker ps` and `docker inspect` show them."""

from typing import Any

from agent.container.model import Container, ContainerConfig, ContainerState, PortBinding, PublishedPort, RunStatus
from engine.translate import container_ports


def container(status: RunStatus = RunStatus.RUNNING, **changes: Any) -> Container:
    values: dict[str, Any] = {
        "id": "c" * 64,
        "name": "web",
        "image": "i",
        "image_id": "sha256:i",
        "args": ("x",),
        "exposed_ports": ("80/tcp", "99/udp"),
        "port_bindings": {"80/tcp": (PortBinding(host_port="8080"),)},
        "published": (
            PublishedPort(port="80/tcp", host_address="0.0.0.0", host_port=8080),
            PublishedPort(port="80/tcp", host_address="::", host_port=8080),
        ),
        **changes,
    }
    return Container(ContainerConfig(**values), ContainerState(status=status))


def test_published_ports_are_shown_where_they_are_and_exposed_ones_as_null() -> None:
    assert container_ports.published(container()) == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "99/udp": None,
    }


def test_a_list_has_one_entry_for_each_address_and_for_each_exposed_port() -> None:
    assert container_ports.summary(container()) == [
        {"IP": "0.0.0.0", "PublicPort": 8080, "PrivatePort": 80, "Type": "tcp"},
        {"IP": "::", "PublicPort": 8080, "PrivatePort": 80, "Type": "tcp"},
        {"PrivatePort": 99, "Type": "udp"},
    ]


def test_a_container_that_does_not_run_or_has_no_network_of_its_own_publishes_nothing() -> None:
    assert container_ports.published(container(RunStatus.EXITED)) == {}
    assert container_ports.published(container(network_mode="host", netns_path="host")) == {}
    assert container_ports.published(container(network_mode="none")) == {}
    assert container_ports.requested(container().config) == {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}
