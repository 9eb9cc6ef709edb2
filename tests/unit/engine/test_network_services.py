from covey.ids import endpoint_id
from covey.objects import (
    Annotations,
    ContainerStatus,
    Endpoint,
    NetworkAttachment,
    Node,
    NodeStatus,
    Service,
    Task,
    TaskStatus,
    VirtualIP,
)
from covey.states import TaskState
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
