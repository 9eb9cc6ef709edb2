"""Field tables: one row gives both directions, no field can be forgotten, and what has no row is refused by its path."""

import pytest

from agent.container.model import ContainerUlimit
from covey.errors import InvalidArgumentError, UnsupportedError
from covey.objects import HealthConfig, Mount, Platform, UpdateConfig
from covey.states import MountType
from engine.translate.container_create.devices import ULIMIT
from engine.translate.container_spec import HEALTH_CONFIG, MOUNT
from engine.translate.field_table import COUNT, TEXT, FieldTable, Row
from engine.translate.service import SERVICE_SPEC, UPDATE_CONFIG


def test_a_table_that_forgets_a_field_cannot_be_built() -> None:
    with pytest.raises(TypeError, match="the table of Platform must have one row for each field: os"):
        FieldTable(Platform, (Row(key="Architecture", field="architecture", codec=TEXT),))


def test_a_table_with_two_rows_for_a_field_cannot_be_built() -> None:
    rows = [Row(key=key, field=field, codec=TEXT) for key, field in (("A", "architecture"), ("B", "os"), ("C", "os"))]
    with pytest.raises(TypeError, match="Platform must have one row for each field: os"):
        FieldTable(Platform, rows)


def test_an_unsupported_field_is_refused_by_its_whole_path_and_an_unknown_key_is_ignored() -> None:
    with pytest.raises(UnsupportedError, match=r"^TaskTemplate\.PluginSpec is not supported"):
        SERVICE_SPEC.from_json({"TaskTemplate": {"PluginSpec": {"Name": "a"}}})
    mount = {"Type": "volume", "VolumeOptions": {"Colour": "a"}}
    spec = SERVICE_SPEC.from_json({"TaskTemplate": {"ContainerSpec": {"Mounts": [mount]}}})
    assert len(spec.task.container.mounts) == 1


def test_keys_of_an_inner_object_are_written_together() -> None:
    mount = Mount(type=MountType.VOLUME, target="/a", volume_no_copy=True, volume_labels={"a": "b"})
    written = MOUNT.write(mount)
    assert written == {"Type": "volume", "Target": "/a", "VolumeOptions": {"NoCopy": True, "Labels": {"a": "b"}}}
    assert MOUNT.from_json(written) == mount


def test_a_required_key_is_named_and_the_first_value_of_an_enumeration_is_not_missing() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^Type is missing; use bind, volume, tmpfs or image"):
        MOUNT.from_json({"Target": "/a"})
    assert MOUNT.from_json({"Type": "bind"}).type is MountType.BIND


def test_zero_values_are_left_out_as_go_does_unless_they_mean_something() -> None:
    assert HEALTH_CONFIG.write(HealthConfig(retries=3)) == {"Retries": 3}
    assert UPDATE_CONFIG.write(UpdateConfig(parallelism=0))["Parallelism"] == 0


def test_an_absent_key_means_the_default_of_its_row_or_else_of_the_struct() -> None:
    assert UPDATE_CONFIG.from_json({}) == UpdateConfig(parallelism=0)
    table = FieldTable(
        Platform, (Row(key="A", field="architecture", codec=TEXT, default="any"), Row(key="O", field="os", codec=TEXT))
    )
    assert table.from_json({}) == Platform(architecture="any")


def test_a_negative_count_is_refused_by_its_path() -> None:
    with pytest.raises(InvalidArgumentError, match=r"number -1 into Go struct field Top\.Retries of type uint64"):
        HEALTH_CONFIG.from_json({"Retries": -1}, "Top")
    assert COUNT.write(3) == 3


def test_a_field_that_must_be_given_is_gos_zero_where_it_is_left_out_or_null() -> None:
    assert ULIMIT.from_json({"Name": "nofile", "Soft": None}) == ContainerUlimit(name="nofile", soft=0, hard=0)
