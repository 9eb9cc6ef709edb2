"""Docker's Network: the field table of its spec, networks as clients see them."""

from collections.abc import Mapping
from typing import Any

from covey.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError, UnsupportedError
from covey.network_options import VNI_OPTION
from covey.objects import IPAM, IPAMConfig, Network, NetworkSpec
from covey.objects.base import Driver
from engine.translate.base import ANNOTATIONS, DRIVER
from engine.translate.field_table import FLAG, TEXT, Constant, Custom, FieldTable, Inline, Row, list_of, nested
from engine.translate.json_fields import JsonFields, omit_empty
from engine.translate.times import rfc3339

PREDEFINED = ("bridge", "host", "none")
_DOCKER_DRIVERS = ("bridge", "host", "ipvlan", "macvlan", "null")
_NODE_DRIVERS = ("macvlan", "ipvlan")
"""Drivers of which each node gives the addresses itself, also for networks of the cluster."""
_LOCAL_DRIVERS = {"bridge": "bridge", "host": "host", "none": "null"}


def _read_driver(fields: JsonFields) -> Mapping[str, Driver]:
    return {"driver": Driver(name=fields.text("Driver"), options=fields.text_map("Options"))}


def _write_driver(spec: NetworkSpec) -> Mapping[str, Any]:
    return {"Driver": spec.driver.name, "Options": spec.driver.options}


def _write_ipam_driver(ipam: IPAM) -> Mapping[str, Any]:
    return {"Driver": ipam.driver.name or "default", "Options": ipam.driver.options or None}


def _read_auxiliary(fields: JsonFields) -> Mapping[str, Any]:
    """Under its name in the documentation or the one that clients send."""
    addresses = fields.text_map("AuxiliaryAddresses") or fields.text_map("AuxAddress")
    return {"auxiliary_addresses": addresses}


def _write_auxiliary(config: IPAMConfig) -> Mapping[str, Any]:
    return {"AuxiliaryAddresses": config.auxiliary_addresses} if config.auxiliary_addresses else {}


IPAM_CONFIG = FieldTable(
    IPAMConfig,
    (
        Row(key="Subnet", field="subnet", codec=TEXT),
        Row(key="IPRange", field="ip_range", codec=TEXT),
        Row(key="Gateway", field="gateway", codec=TEXT),
        Custom(fields=("auxiliary_addresses",), read=_read_auxiliary, write=_write_auxiliary),
    ),
)

IPAM_TABLE = FieldTable(
    IPAM,
    (
        Custom(fields=("driver",), read=_read_driver, write=_write_ipam_driver),
        Row(key="Config", field="configs", codec=list_of(IPAM_CONFIG), always=True),
    ),
)

NETWORK_SPEC = FieldTable(
    NetworkSpec,
    (
        Inline(field="annotations", table=ANNOTATIONS),
        Custom(fields=("driver",), read=_read_driver, write=_write_driver),
        Row(key="EnableIPv6", field="ipv6", codec=FLAG, always=True),
        Row(key="Internal", field="internal", codec=FLAG, always=True),
        Row(key="Attachable", field="attachable", codec=FLAG, always=True),
        Row(key="Ingress", field="ingress", codec=FLAG, always=True),
        Row(key="ConfigFrom.Network", field="config_from", codec=TEXT, always=True),
        Row(key="IPAM", field="ipam", codec=nested(IPAM_TABLE), always=True),
        Constant(key="Scope", accepted=("swarm", "global")),
        Constant(key="EnableIPv4", accepted=(True,)),
    ),
)


def read_spec(body: Any) -> NetworkSpec:
    """The spec of a request to create a network; only networks of the cluster are supported.

    Raises:
        InvalidArgumentError, UnsupportedError: names the field.
    """
    fields = JsonFields(body)
    fields.raw("CheckDuplicate")
    name, driver = fields.text("Name"), fields.text("Driver")
    if name in PREDEFINED:
        raise PermissionDeniedError(f"operation is not permitted on predefined {name} network ")
    if driver and driver != "overlay" and driver not in _DOCKER_DRIVERS:
        raise NotFoundError(f'plugin "{driver}" not found')
    if driver != "overlay" and not (driver in _NODE_DRIVERS and fields.raw("Scope") == "swarm"):
        raise UnsupportedError(
            f"network {name}: the driver {driver or 'bridge'} is not supported in scope swarm; use overlay, macvlan or ipvlan"
        )
    if fields.raw("EnableIPv4") is False:
        raise InvalidArgumentError("IPv4 cannot be disabled in a Swarm scoped network")
    spec = NETWORK_SPEC.read(fields)
    fields.refuse_unsupported()
    return spec


def write_spec(spec: NetworkSpec) -> dict[str, Any]:
    """A creation request for this spec."""
    return NETWORK_SPEC.write(spec)


def write(network: Network, containers: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A network as ``docker network ls`` and ``inspect`` show it, with the endpoints of this host's containers."""
    spec = network.spec
    return {
        "Name": spec.annotations.name,
        "Id": network.id,
        "Created": rfc3339(network.meta.created_at_ns),
        "Scope": "swarm",
        "Driver": spec.driver.name or "overlay",
        "EnableIPv4": True,
        "EnableIPv6": spec.ipv6,
        "IPAM": IPAM_TABLE.write(network.ipam if network.ipam.configs else spec.ipam),
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": spec.ingress,
        "ConfigFrom": {"Network": spec.config_from},
        "ConfigOnly": False,
        "Containers": dict(containers or {}),
        "Options": spec.driver.options | ({VNI_OPTION: str(network.vni)} if network.vni else {}),
        "Labels": spec.annotations.labels,
    }


def write_task_network(network: Network) -> dict[str, Any]:
    """A network as part of a task."""
    spec = network.spec
    return {
        "ID": network.id,
        "Version": {"Index": network.meta.version},
        "CreatedAt": rfc3339(network.meta.created_at_ns),
        "UpdatedAt": rfc3339(network.meta.updated_at_ns),
        "Spec": {
            "Name": spec.annotations.name,
            "Labels": spec.annotations.labels,
            "DriverConfiguration": DRIVER.write(spec.driver),
            "IPAMOptions": {"Driver": DRIVER.write(spec.ipam.driver)},
            "Scope": "swarm",
        },
        "DriverState": {"Name": spec.driver.name, "Options": {VNI_OPTION: str(network.vni)}},
        "IPAMOptions": {
            "Driver": {"Name": "default"},
            "Configs": [omit_empty(Subnet=config.subnet, Gateway=config.gateway) for config in network.ipam.configs],
        },
    }
