"""Links between containers, and names that only a start can resolve."""

import pytest

from agent.container.links import check_links, extra_hosts, parse_link
from agent.container.model import (
    Container,
    ContainerConfig,
    ContainerState,
    EndpointSettings,
    NetworkConnection,
    NetworkRequest,
    RunStatus,
)
from covey.errors import ConflictError, InvalidArgumentError, NotFoundError

GATEWAY = NetworkConnection(host_gateway="172.18.0.1")


def container(name: str, *, running: bool = True, network: str = "bridge", **changes: object) -> Container:
    defaults: dict[str, object] = {"id": name[0] * 64, "name": name, "image": "i", "image_id": "i", "args": ("x",)}
    config = ContainerConfig(**{**defaults, **changes}, networks=(EndpointSettings(name=network, ip="172.18.0.5"),))  # type: ignore[arg-type]
    return Container(config, ContainerState(status=RunStatus.RUNNING if running else RunStatus.EXITED))


def find(*others: Container):  # noqa: ANN201 - a function
    def look_up(ref: str) -> Container:
        for other in others:
            if ref in {other.name, other.id}:
                return other
        raise NotFoundError(f"No such container: {ref}")

    return look_up


@pytest.mark.parametrize(
    ("link", "parsed"),
    [("db", ("db", "db")), ("db:data", ("db", "data")), ("/db:/web/data", ("db", "data"))],
)
def test_a_link_names_a_container_and_an_alias(link: str, parsed: tuple[str, str]):
    assert parse_link(link) == parsed


def test_alias_host_name_and_name_of_a_linked_container_lead_to_its_address():
    web = container("web", links=("db:data",), extra_hosts=("a:1.2.3.4", "host:host-gateway")).config
    assert extra_hosts(web, GATEWAY, find(container("db", hostname="store"))) == (
        "a:1.2.3.4", "host:172.18.0.1", "data:172.18.0.5", "store:172.18.0.5", "db:172.18.0.5",
    )  # fmt: skip


def test_a_container_without_a_way_to_the_host_has_no_gateway_name():
    assert extra_hosts(container("web", extra_hosts=("h:host-gateway",)).config, NetworkConnection(), find()) == ()


def test_a_linked_container_must_run_on_the_default_bridge():
    web = container("web", links=("db:data",)).config
    with pytest.raises(ConflictError, match="Cannot link to a non running container: /db AS /web/data"):
        extra_hosts(web, GATEWAY, find(container("db", running=False)))
    with pytest.raises(ConflictError, match="Cannot link to /db, as it does not belong to the default network"):
        extra_hosts(web, GATEWAY, find(container("db", network="other")))


def test_a_link_to_nobody_is_refused_when_the_container_is_created():
    with pytest.raises(InvalidArgumentError, match="could not get container for db: No such container: db"):
        check_links(container("web", links=("db:data",)).config, find())


def test_on_another_network_a_link_is_an_alias_of_a_container_there():
    request = NetworkRequest(network="open", links=("db:data", "remote:far"))
    web = container("web", network_mode="open", links=("db:data",), requested_networks=(request,)).config
    assert extra_hosts(web, GATEWAY, find(container("db", network="open"))) == ("data:172.18.0.5",)
    assert extra_hosts(web, GATEWAY, find(container("db", network="other"))) == ()
    assert extra_hosts(web, GATEWAY, find(container("db", network="open", running=False))) == ()
