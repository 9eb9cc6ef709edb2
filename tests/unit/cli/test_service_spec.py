"""Service specs from the flags of ``service create`` and ``service update``, and the table of flags."""

from typing import Any

import click
import pytest

from cli.commands.service_update import create, update
from cli.parse.mounts import parse_service_mount
from cli.parse.service_flags import FLAGS, LISTS, Flag, ListFlag, ObjectIds
from cli.service.spec import new_spec, updated_spec
from covey.capabilities import effective
from covey.errors import InvalidArgumentError
from covey.quantities import parse_cpus

NAMES = ObjectIds(
    secrets={"token": "s1", "other": "s2"}, configs={"page": "c1"}, networks={"front": "n1", "back": "n2"}
)


def container(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec["TaskTemplate"]["ContainerSpec"]
    return found


def test_the_default_spec_is_one_replica_of_the_image() -> None:
    assert new_spec("web:1", (), {}, NAMES) == {
        "Name": "",
        "Labels": {},
        "TaskTemplate": {"ContainerSpec": {"Image": "web:1"}},
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {},
    }


def test_flags_set_the_fields_of_the_api() -> None:
    flags = {
        "name": "web",
        "replicas": 0,
        "env": ["A=1", "A=2"],
        "label": ["l=1"],
        "container_label": ["c=1"],
        "limit_cpu": parse_cpus("0.5"),
        "reserve_memory": 1 << 20,
        "constraint": ["node.role==worker"],
        "placement_pref": ["spread=node.labels.zone"],
        "secret": ["source=token,target=t,mode=0400"],
        "config": ["page"],
        "network": ["name=front,alias=a,alias=b"],
        "host": ["db:192.0.2.1"],
        "update_parallelism": 0,
        "rollback_order": "start-first",
        "restart_condition": "none",
        "health_cmd": "true",
        "publish": ["8080:80"],
        "tty": True,
        "entrypoint": "sh -c 'a b'",
    }
    spec = new_spec("web:1", ("serve", "-v"), flags, NAMES)
    task = spec["TaskTemplate"]
    assert spec["Mode"] == {"Replicated": {"Replicas": 0}}
    assert container(spec)["Env"] == ["A=2"]
    assert container(spec)["Command"] == ["sh", "-c", "a b"]
    assert container(spec)["Args"] == ["serve", "-v"]
    assert container(spec)["Hosts"] == ["192.0.2.1 db"]
    assert container(spec)["Healthcheck"] == {"Test": ["CMD-SHELL", "true"]}
    assert container(spec)["Secrets"] == [
        {"File": {"Name": "t", "UID": "0", "GID": "0", "Mode": 0o400}, "SecretID": "s1", "SecretName": "token"}
    ]
    assert task["Networks"] == [{"Target": "n1", "Aliases": ["a", "b"]}]
    assert task["Resources"] == {"Limits": {"NanoCPUs": 500_000_000}, "Reservations": {"MemoryBytes": 1 << 20}}
    assert task["Placement"] == {
        "Constraints": ["node.role==worker"],
        "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}],
    }
    assert spec["UpdateConfig"] == {"Parallelism": 0}
    assert spec["RollbackConfig"] == {"Parallelism": 1, "Order": "start-first"}
    assert spec["EndpointSpec"]["Ports"] == [
        {"TargetPort": 80, "PublishedPort": 8080, "Protocol": "tcp", "PublishMode": "ingress"}
    ]


def there() -> dict[str, Any]:
    flags = {"env": ["A=1", "B=2"], "secret": ["token"], "network": ["front"], "mount": ["type=tmpfs,target=/a"]}
    return new_spec("web:1", (), {"name": "web", **flags}, NAMES)


def test_an_update_without_flags_changes_nothing() -> None:
    assert updated_spec(there(), {}, NAMES) == there()


def test_an_update_does_not_modify_the_original_spec() -> None:
    original = there()
    updated_spec(original, {"env_add": ["A=3"], "image": "web:2"}, NAMES)
    assert original == there()


def test_adding_replaces_an_entry_with_the_same_identity() -> None:
    flags = {"env_add": ["A=3", "C=4"], "mount_add": ["type=tmpfs,target=/a,readonly"], "secret_add": ["other"]}
    spec = updated_spec(there(), flags, NAMES)
    assert container(spec)["Env"] == ["A=3", "B=2", "C=4"]
    assert container(spec)["Mounts"] == [{"Type": "tmpfs", "Target": "/a", "ReadOnly": True}]
    assert [secret["SecretName"] for secret in container(spec)["Secrets"]] == ["token", "other"]


def test_removing_finds_entries_by_identity() -> None:
    flags = {"env_rm": ["A"], "mount_rm": ["/a"], "secret_rm": ["token"], "network_rm": ["front"]}
    spec = updated_spec(there(), flags, NAMES)
    assert container(spec)["Env"] == ["B=2"]
    assert container(spec)["Mounts"] == container(spec)["Secrets"] == spec["TaskTemplate"]["Networks"] == []


@pytest.mark.parametrize("flag", ["env_rm", "mount_rm", "secret_rm", "network_rm", "constraint_rm"])
def test_removing_a_missing_entry_is_an_error(flag: str) -> None:
    with pytest.raises(InvalidArgumentError, match="the service has no such entry"):
        updated_spec(there(), {flag: ["nothing"]}, NAMES)


def test_force_increments_force_update() -> None:
    once = updated_spec(there(), {"force": True}, NAMES)
    assert updated_spec(once, {"force": True}, NAMES)["TaskTemplate"]["ForceUpdate"] == 2


def test_conflicting_flags_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="replicas can only be used with"):
        new_spec("i", (), {"mode": "global", "replicas": 2}, NAMES)
    with pytest.raises(InvalidArgumentError, match="--no-healthcheck conflicts"):
        new_spec("i", (), {"no_healthcheck": True, "health_cmd": "true"}, NAMES)
    with pytest.raises(InvalidArgumentError, match="replicas can only be used with"):
        updated_spec(new_spec("i", (), {"mode": "global"}, NAMES), {"replicas": 2}, NAMES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("target=/a,wrong=1", "unknown field 'wrong'"),
        ("type=bind,target=/a", "a bind mount needs a source"),
        ("source=x", "target is required"),
        ("type=bind,source=/a,target=/b,volume-nocopy", "is only valid with type=volume"),
    ],
)
def test_invalid_mounts_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        parse_service_mount(text)


def test_an_unknown_secret_is_an_error_with_its_name() -> None:
    with pytest.raises(InvalidArgumentError, match="secret not found: nothing"):
        new_spec("i", (), {"secret": ["nothing"]}, NAMES)


def test_capabilities_are_normalized_as_in_docker() -> None:
    assert effective(["net_admin", "CAP_SYS_TIME", "net_admin"], ["mknod", "net_admin"]) == (
        ["CAP_NET_ADMIN", "CAP_SYS_TIME"],
        ["CAP_MKNOD"],
    )
    assert effective(["all", "kill"], []) == (["ALL"], [])


@pytest.mark.parametrize("text", ["", "x", "-1", "0.0000000001"])
def test_cpus_finer_than_a_billionth_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="is not a number of CPUs"):
        parse_cpus(text)


def sample(flag: Flag) -> Any:
    """A value as click passes it to the command."""
    if flag.switch:
        return False
    if isinstance(flag.type, click.Choice):
        return flag.type.choices[-1]
    if flag.multiple:
        return ("a=b",)
    return "text" if flag.type is None else 1


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.path], ids=lambda flag: flag.name)
def test_one_row_makes_the_options_and_the_field_of_the_spec(flag: Flag) -> None:
    value = sample(flag)
    for command, spec in (
        (create, new_spec("i", (), {flag.key: value}, NAMES)),
        (update, updated_spec(there(), {flag.key: value}, NAMES)),
    ):
        (option,) = [param for param in command.params if param.name == flag.key]
        assert f"--{flag.name}" in option.opts
        field: Any = spec
        for part in flag.path:
            field = field[part]
        assert field == flag.to_spec(value)


@pytest.mark.parametrize("flag", LISTS, ids=lambda flag: flag.name)
def test_a_list_flag_has_options_to_add_and_to_remove(flag: ListFlag) -> None:
    names = {name for param in create.params for name in param.opts}
    assert f"--{flag.name}" in names
    names = {name for param in update.params for name in param.opts}
    assert {f"--{flag.name}-add", f"--{flag.name}-rm"} <= names


def test_networks_hosts_and_ports_are_removed_by_the_text_that_added_them() -> None:
    added = {"network": ["back"], "host": ["db:192.0.2.1"], "publish": ["8080:80"]}
    spec = new_spec("i", (), added, NAMES)
    removed = updated_spec(spec, {"network_rm": ["back"], "host_rm": ["db:192.0.2.1"], "publish_rm": ["80"]}, NAMES)
    assert removed["TaskTemplate"]["Networks"] == container(removed)["Hosts"] == removed["EndpointSpec"]["Ports"] == []
