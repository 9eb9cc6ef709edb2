"""Which changes of a service's spec make its tasks outdated: clients give back defaults and reorder what has no order."""

from covey.objects import ContainerSpec, DNSConfig, Mount, Placement, ResourceRequirements, RestartPolicy, TaskSpec
from manager.orchestrator.slots import same_work

GIVEN = TaskSpec(
    container=ContainerSpec(image="a", mounts=(Mount(source="/x", target="/x"), Mount(source="/b", target="/b")))
)
SHOWN = TaskSpec(
    container=ContainerSpec(
        image="a",
        stop_grace_ns=10_000_000_000,
        dns=DNSConfig(),
        mounts=(Mount(source="/b", target="/b"), Mount(source="/x", target="/x")),
    ),
    resources=ResourceRequirements(),
    restart=RestartPolicy(),
    placement=Placement(),
)


def test_defaults_that_are_written_out_and_reordered_mounts_are_no_change() -> None:
    assert same_work(GIVEN, SHOWN)


def test_another_grace_period_a_forced_update_and_another_mount_are_changes() -> None:
    assert not same_work(
        GIVEN, TaskSpec(container=ContainerSpec(image="a", mounts=GIVEN.container.mounts, stop_grace_ns=1))
    )
    assert not same_work(GIVEN, TaskSpec(container=GIVEN.container, force_update=1))
    assert not same_work(GIVEN, TaskSpec(container=ContainerSpec(image="a", mounts=GIVEN.container.mounts[:1])))
