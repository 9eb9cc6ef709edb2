from covey.ids import endpoint_id
from covey.objects import (
    Annotations,
    ContainerStatus,
    Endpoint,
    NetworkAttachment,
    NetworkAttachmentConfig,
    Node,
    NodeStatus,
    PortConfig,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskStatus,
    VirtualIP,
)
from covey.states import PublishMode, TaskState
from engine.translate.network_services import write_services


def task(name: str, slot: int, address: str, state: TaskState = TaskState.RUNNING, network: str = "net") -> Task:
    return Task(
        id=f"t{slot}", service_id=f"id-{name}", slot=slot, node_id="n1", service_annotations=Annotations(name=name),
        networks=(NetworkAttachment(network_id=network, address=address),),
        status=TaskStatus(state=state, container=ContainerStatus(container_id=f"c{slot}")),
    )  # fmt: skip


def test_services_show_their_virtual_ip_and_running_tasks() -> None:
    web = Service(id="id-web", endpoint=Endpoint(virtual_ips=(VirtualIP(network_id="net", address="10.0.1.2/24"),)))
    tasks = [
        task("web", 2, "10.0.1.4/24"),
        task("web", 1, "10.0.1.3/24"),
        task("web", 3, "10.0.1.5/24", TaskState.FAILED),
        task("other", 4, "10.0.2.3/24", network="elsewhere"),
    ]
    shown = write_services("net", [web], tasks, {"n1": Node(id="n1", status=NodeStatus(addr="192.0.2.1"))})
    assert list(shown) == ["web"]
    assert shown["web"] == {
        "VIP": "10.0.1.2",
        "Ports": [],
        "LocalLBIndex": 0,
        "Tasks": [
            {
                "Name": f"web.{slot}.t{slot}",
                "EndpointID": endpoint_id(f"c{slot}", "net"),
                "EndpointIP": f"10.0.1.{slot + 2}",
                "Info": {"Host IP": "192.0.2.1"},
            }
            for slot in (1, 2)
        ],
    }


def test_a_published_service_shows_its_ports_on_the_ingress_network_only() -> None:
    published = PortConfig(target_port=80, published_port=8080)
    host = PortConfig(target_port=81, published_port=8081, publish_mode=PublishMode.HOST)
    vips = tuple(VirtualIP(network_id=key, address=f"10.0.{at}.2/24") for at, key in enumerate(("mesh", "net")))
    web = Service(
        id="id-web",
        spec=ServiceSpec(task=TaskSpec(networks=(NetworkAttachmentConfig(target="net"),))),
        endpoint=Endpoint(ports=(published, host), virtual_ips=vips),
    )
    shown = {
        key: write_services(key, [web], [task("web", 1, "10.0.0.3/24", network=key)], {})["web"]
        for key in ("mesh", "net")
    }
    assert {key: item["Ports"] for key, item in shown.items()} == {"mesh": ["Target: 80, Publish: 8080"], "net": []}
    assert (shown["mesh"]["VIP"], shown["net"]["VIP"]) == ("10.0.0.2", "10.0.1.2")
