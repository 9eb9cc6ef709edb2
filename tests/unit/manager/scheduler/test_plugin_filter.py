"""Tasks run only where their log driver and their networks' drivers are."""

import pytest

from covey.objects import (
    ContainerSpec,
    Driver,
    EngineDescription,
    Mount,
    Network,
    NetworkAttachment,
    NetworkSpec,
    NodeDescription,
    TaskSpec,
    replace,
)
from covey.states import MountType, TaskState
from manager.scheduler.planner import SchedulerPlanner
from tests.support.planning import NOW, applied, node, service, task, view_of

PLUGINS = ("Log/json-file", "Network/overlay", "Volume/local")


def placed(wanted: TaskSpec, plugins: tuple[str, ...], **changes: object) -> tuple[TaskState, str]:
    """State and error of a task on a cluster of one node with these plugins."""
    web = service()
    one = replace(task(web, 1, state=TaskState.PENDING, node_id=""), spec=wanted, **changes)
    host = node("n1", description=NodeDescription(engine=EngineDescription(plugins=plugins)))
    net = Network(id="net", spec=NetworkSpec(driver=Driver(name="overlay")))
    view = view_of(host, web, one, net)
    planner = SchedulerPlanner()
    planner.reset(view)
    status = applied(view, planner.plan(view, NOW)).tasks.get(one.id).status
    return status.state, status.error


JOURNAL = TaskSpec(log_driver=Driver(name="journald"))
VOLUME = TaskSpec(container=ContainerSpec(mounts=(Mount(type=MountType.VOLUME, volume_driver=Driver(name="local")),)))
ON_NET = {"networks": (NetworkAttachment(network_id="net"),)}


@pytest.mark.parametrize(
    ("wanted", "plugins", "changes"),
    [
        (TaskSpec(), PLUGINS, {}),
        (JOURNAL, (*PLUGINS, "Log/journald"), {}),
        (JOURNAL, (), {}),  # a node that does not say what it has
        (TaskSpec(log_driver=Driver(name="none")), PLUGINS, {}),
        (TaskSpec(), PLUGINS, ON_NET),
        (VOLUME, PLUGINS, {}),
    ],
)
def test_a_task_is_placed_where_its_drivers_are(
    wanted: TaskSpec, plugins: tuple[str, ...], changes: dict[str, object]
) -> None:
    assert placed(wanted, plugins, **changes) == (TaskState.ASSIGNED, "")


@pytest.mark.parametrize(
    ("wanted", "plugins", "changes", "missing"),
    [
        (JOURNAL, PLUGINS, {}, "Log/journald"),
        (TaskSpec(), PLUGINS, {"log_driver": Driver(name="syslog")}, "Log/syslog"),  # the cluster's default
        (TaskSpec(), ("Log/json-file",), ON_NET, "Network/overlay"),
        (VOLUME, ("Log/json-file",), {}, "Volume/local"),
    ],
)
def test_a_task_whose_driver_no_node_has_waits_with_the_reason(
    wanted: TaskSpec, plugins: tuple[str, ...], changes: dict[str, object], missing: str
) -> None:
    assert placed(wanted, plugins, **changes) == (
        TaskState.PENDING,
        f"no suitable node (missing plugin on 1 node: {missing})",
    )
