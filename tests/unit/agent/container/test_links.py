"""Links between containers, and names that only a start can resolve."""

import pytest

from agent.container.link_environment import link_environment
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


def test_a_link_gives_dockers_variables_of_ports_name_and_environment():
    db = container(
        "db", exposed_ports=("81/udp", "5432/tcp", "9000-9002/tcp"), env=("A=1", "PATH=/x", "HOME=/h", "B=x=y")
    )
    web = container("web", links=("db:my-data",)).config
    ip = "172.18.0.5"
    assert link_environment(web, find(db)) == (
        f"MY_DATA_PORT=tcp://{ip}:5432",
        f"MY_DATA_PORT_9000_TCP_START=tcp://{ip}:9000",
        f"MY_DATA_PORT_9000_TCP_ADDR={ip}",
        "MY_DATA_PORT_9000_TCP_PROTO=tcp",
        "MY_DATA_PORT_9000_TCP_PORT_START=9000",
        f"MY_DATA_PORT_9000_TCP_END=tcp://{ip}:9002",
        "MY_DATA_PORT_9000_TCP_PORT_END=9002",
        *(
            line
            for number, protocol in ((5432, "tcp"), (9000, "tcp"), (9001, "tcp"), (9002, "tcp"), (81, "udp"))
            for key in (f"MY_DATA_PORT_{number}_{protocol.upper()}",)
            for line in (
                f"{key}={protocol}://{ip}:{number}",
                f"{key}_ADDR={ip}",
                f"{key}_PORT={number}",
                f"{key}_PROTO={protocol}",
            )
        ),
        "MY_DATA_NAME=/web/my-data",
        "MY_DATA_ENV_A=1",
        "MY_DATA_ENV_B=x=y",
    )


def test_links_on_other_networks_and_to_ended_containers_give_no_variables():
    db, ended = container("db"), container("db", running=False)
    assert link_environment(container("web", links=("db",)).config, find(db)) == ("DB_NAME=/web/db",)
    assert link_environment(container("web", links=("db",)).config, find(ended)) == ()
    assert link_environment(container("web", links=("db",), network_mode="own").config, find(db)) == ()
