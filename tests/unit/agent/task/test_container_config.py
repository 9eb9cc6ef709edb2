"""The container configuration of a task."""

import msgspec
import pytest

from agent.container import health
from agent.container.model import ContainerConfig, ContainerMount, HealthCheck, MountKind
from agent.image.model import Image, ImageConfig, ImageHealthcheck
from agent.task.container_config import container_config
from covey.errors import InvalidArgumentError, UnsupportedError
from covey.objects import (
    Annotations,
    ContainerSpec,
    Driver,
    HealthConfig,
    ResourceRequirements,
    Resources,
    Task,
    TaskSpec,
)
from covey.objects import Mount as MountSpec
from covey.placeholders import NodeFacts, expand, task_name
from covey.states import MountType

NODE = NodeFacts(id="n" * 25, hostname="lab-4", labels={"zone": "a"})
CONTAINER = "c" * 64


def image(**config: object) -> Image:
    return Image(
        id="sha256:" + "1" * 64,
        repo_tags=("app:1",),
        repo_digests=(),
        created="",
        size=0,
        architecture="amd64",
        os="linux",
        config=ImageConfig(**config),
        diff_ids=(),
    )


def task(slot: int = 3, **container: object) -> Task:
    return Task(
        id="t" * 25, service_id="s" * 25, slot=slot, node_id=NODE.id, service_annotations=Annotations(name="web", labels={"tier": "front"}),
        spec=TaskSpec(container=ContainerSpec(image="app:1", **container)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ((), (), ("entry", "cmd")),
        ((), ("x",), ("entry", "x")),
        (("own",), (), ("own",)),
        (("own",), ("x",), ("own", "x")),
    ],
)
def test_command_and_args_are_merged_as_docker_does(
    command: tuple[str, ...], args: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    base = image(entrypoint=("entry",), cmd=("cmd",))
    assert container_config(task(command=command, args=args), base, NODE, CONTAINER, 9).args == expected


def test_the_services_settings_win_over_the_images() -> None:
    base = image(
        cmd=("cmd",),
        env=("A=1", "B=2", "C=3"),
        user="web",
        working_dir="/srv",
        stop_signal="SIGQUIT",
        labels={"a": "i", "b": "i"},
    )
    plain = container_config(task(), base, NODE, CONTAINER, 9)
    assert (plain.user, plain.working_dir, plain.stop_signal, plain.args, plain.stop_grace_seconds) == (
        "web",
        "/srv",
        "SIGQUIT",
        ("cmd",),
        None,
    )
    own = container_config(
        task(
            env=("B=x", "C", "D=4"),
            user="0",
            dir="/",
            stop_signal="SIGINT",
            stop_grace_ns=1_500_000_000,
            labels={"b": "s"},
        ),
        base,
        NODE,
        CONTAINER,
        9,
    )
    assert own.env == ("B=x", "C", "D=4", "A=1")
    assert (own.user, own.working_dir, own.stop_signal, own.stop_grace_seconds) == ("0", "/", "SIGINT", 1.5)
    assert (own.labels["a"], own.labels["b"]) == ("i", "s")


def test_a_container_is_named_and_labelled_as_swarms() -> None:
    config = container_config(task(), image(cmd=("x",)), NODE, CONTAINER, 9)
    assert config.name == f"web.3.{'t' * 25}"
    assert {key.removeprefix("com.docker.swarm."): value for key, value in config.labels.items()} == {
        "node.id": NODE.id, "service.id": "s" * 25, "service.name": "web", "task": "", "task.id": "t" * 25, "task.name": f"web.3.{'t' * 25}",
    }  # fmt: skip
    assert task_name(task(slot=0)) == f"web.{NODE.id}.{'t' * 25}"


def test_templates_fill_hostname_environment_and_sources() -> None:
    made = container_config(
        task(
            hostname="{{.Service.Name}}-{{.Task.Slot}}",
            env=('ZONE={{index .Node.Labels "zone"}}', "T={{ .Service.Labels.tier }}", "N={{.Node.Hostname}}"),
            mounts=(MountSpec(type=MountType.VOLUME, source="data-{{.Task.Slot}}", target="/d/{{.Task.Slot}}", volume_labels={"of": "{{.Service.Name}}"}, volume_driver=Driver(name="local", options={"o": "size={{.Task.Slot}}m"})),),
        ),
        image(cmd=("x",)), NODE, CONTAINER, 9,
    )  # fmt: skip
    assert made.hostname == "web-3"
    assert made.env == ("ZONE=a", "T=front", "N=lab-4")
    (mount,) = made.mounts
    assert (mount.source, mount.target) == ("data-3", "/d/3")
    assert (mount.driver_labels, mount.driver_options) == ({"of": "web"}, {"o": "size=3m"})


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgumentError, match=r"can't evaluate field Colour in \.Task\.Colour"):
        expand("{{.Task.Colour}}", task(), NODE)


def test_mounts_resources_and_hosts_are_carried_over() -> None:
    made = container_config(
        msgspec.structs.replace(
            task(
                mounts=(
                    MountSpec(type=MountType.BIND, source="/srv", target="/s", read_only=True),
                    MountSpec(type=MountType.TMPFS, target="/t", tmpfs_size_bytes=4096, tmpfs_mode=0o1777),
                ),
                hosts=("10.0.0.1 db database",),
            ),
            spec=msgspec.structs.replace(
                task(
                    mounts=(
                        MountSpec(type=MountType.BIND, source="/srv", target="/s", read_only=True),
                        MountSpec(type=MountType.TMPFS, target="/t", tmpfs_size_bytes=4096, tmpfs_mode=0o1777),
                    ),
                    hosts=("10.0.0.1 db database",),
                ).spec,
                resources=ResourceRequirements(limits=Resources(nano_cpus=500_000_000, memory_bytes=1 << 20, pids=9), reservations=Resources(memory_bytes=4096)),
            ),
        ),
        image(cmd=("x",), volumes=("/s", "/v")), NODE, CONTAINER, 9,
    )  # fmt: skip
    assert made.mounts == (
        ContainerMount(kind=MountKind.BIND, source="/srv", target="/s", read_only=True),
        ContainerMount(kind=MountKind.TMPFS, target="/t", options=("size=4096", "mode=1777")),
        ContainerMount(kind=MountKind.VOLUME, target="/v"),
    )
    assert (
        made.resources.nano_cpus,
        made.resources.memory_bytes,
        made.resources.pids_limit,
        made.resources.memory_reservation_bytes,
    ) == (500_000_000, 1 << 20, 9, 4096)
    assert made.extra_hosts == ("db:10.0.0.1", "database:10.0.0.1")


def test_the_health_check_of_the_service_overrides_that_of_the_image() -> None:
    base = image(cmd=("x",), healthcheck=ImageHealthcheck(test=("CMD", "true"), interval=5_000_000_000, retries=7))
    own = task(healthcheck=HealthConfig(interval_ns=1_000_000_000))
    merged = container_config(own, base, NODE, CONTAINER, 9).healthcheck
    assert merged == HealthCheck(test=("CMD", "true"), interval_seconds=1.0, retries=7)
    disabled = container_config(task(healthcheck=HealthConfig(test=("NONE",))), base, NODE, CONTAINER, 9).healthcheck
    assert not health.enabled(disabled)


def test_unsupported_settings_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="npipe"):
        container_config(
            task(mounts=(MountSpec(type=MountType.NPIPE, target="/p"),)), image(cmd=("x",)), NODE, CONTAINER, 9
        )
    with pytest.raises(InvalidArgumentError, match="no command"):
        container_config(task(), image(), NODE, CONTAINER, 9)


def configured(**container: object) -> ContainerConfig:
    return container_config(task(command=("sleep",), **container), image(), NODE, CONTAINER, 1)


def test_privileges_of_a_service_become_the_security_settings_of_its_container() -> None:
    """The profiles that every container gets anyway are not kept as options."""
    options = ("seccomp=unconfined", "apparmor=unconfined", "label=disable")
    config = configured(security_options=options)
    assert (config.seccomp, config.apparmor_profile, config.security_options) == ("unconfined", "unconfined", options)
    assert configured(security_options=("seccomp=builtin", "apparmor=docker-default")).security_options == ()
    assert configured(security_options=("label=user:u",)).security_options == ("label=user:u",)


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (MountSpec(type=MountType.TMPFS, source="x", target="/x"), 'type "tmpfs": field Source must not be specified'),
        (
            MountSpec(type=MountType.BIND, source="rel", target="/x"),
            "invalid mount path: 'rel' mount path must be absolute",
        ),
        (
            MountSpec(type=MountType.VOLUME, source="v", target="rel"),
            "invalid mount path: 'rel' mount path must be absolute",
        ),
        (MountSpec(type=MountType.VOLUME, source="v"), 'type "volume": field Target must not be empty'),
        (MountSpec(type=MountType.IMAGE, target="/x"), 'type "image": field Source must not be empty'),
        (
            MountSpec(type=MountType.TMPFS, target="/x", bind_non_recursive=True),
            'type "tmpfs": field BindOptions must not be specified',
        ),
        (
            MountSpec(type=MountType.VOLUME, target="/x", propagation="shared"),
            'type "volume": field BindOptions must not be specified',
        ),
        (
            MountSpec(type=MountType.IMAGE, source="i", target="/x", volume_subpath="a"),
            'type "image": field VolumeOptions must not be specified',
        ),
    ],
)
def test_a_mount_that_cannot_be_is_refused_by_the_node_in_dockers_words(mount: MountSpec, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        configured(mounts=(mount,))


def test_every_option_of_a_mount_reaches_the_container() -> None:
    made = configured(
        mounts=(
            MountSpec(type=MountType.VOLUME, source="v", target="/v", volume_subpath="a/b"),
            MountSpec(type=MountType.IMAGE, source="other:{{.Node.Hostname}}", target="/i", image_subpath="etc"),
            MountSpec(
                type=MountType.BIND, source="/b", target="/b", bind_create_mountpoint=True, bind_non_recursive=True
            ),
            MountSpec(type=MountType.BIND, source="/r", target="/r", read_only=True, bind_read_only_non_recursive=True),
            MountSpec(
                type=MountType.BIND, source="/f", target="/f", read_only=True, bind_read_only_force_recursive=True
            ),
            MountSpec(type=MountType.TMPFS, target="/t", tmpfs_options=("noexec", "uid=7")),
        )
    )
    assert made.mounts == (
        ContainerMount(kind=MountKind.VOLUME, source="v", target="/v", subpath="a/b"),
        ContainerMount(kind=MountKind.IMAGE, source=f"other:{NODE.hostname}", target="/i", subpath="etc"),
        ContainerMount(kind=MountKind.BIND, source="/b", target="/b", create_source=True, non_recursive=True),
        ContainerMount(kind=MountKind.BIND, source="/r", target="/r", read_only=True, read_only_non_recursive=True),
        ContainerMount(kind=MountKind.BIND, source="/f", target="/f", read_only=True, read_only_force_recursive=True),
        ContainerMount(kind=MountKind.TMPFS, target="/t", options=("noexec", "uid=7")),
    )


def test_the_log_driver_is_the_specs_or_the_clusters_and_a_size_is_bounded_by_default() -> None:
    plain = container_config(task(), image(cmd=("x",)), NODE, CONTAINER, 9)
    assert (plain.log.driver, plain.log_max_bytes) == ("", 32 << 20)
    given = msgspec.structs.replace(task(), log_driver=Driver(name="local", options={"max-size": "1m"}))
    log = container_config(given, image(cmd=("x",)), NODE, CONTAINER, 9).log
    assert (log.driver, log.options) == ("local", {"max-size": "1m"})
    spec = msgspec.structs.replace(given.spec, log_driver=Driver(name="none"))
    assert (
        container_config(msgspec.structs.replace(given, spec=spec), image(cmd=("x",)), NODE, CONTAINER, 9).log.driver
        == "none"
    )
