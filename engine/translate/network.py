"""Docker's Network and ours, and the three networks that every host has."""

from hashlib import sha256
from typing import Any

from covey.errors import UnsupportedError
from covey.network_options import check_network_options
from covey.objects import IPAM, IPAMConfig, Network, NetworkSpec
from covey.objects.base import Annotations, Driver
from engine.translate.container_spec import DRIVER
from engine.translate.json_fields import JsonFields, omit_empty
from engine.translate.times import ZERO, rfc3339

VNI_OPTION = "com.docker.network.driver.overlay.vxlanid_list"
PREDEFINED = ("bridge", "host", "none")
_LOCAL_DRIVERS = {"bridge": "bridge", "host": "host", "none": "null"}


def read_spec(body: Any) -> NetworkSpec:
    """The spec of a creation request; only networks of the cluster can be made so far."""
    fields = JsonFields(body)
    fields.raw("CheckDuplicate")
    name, driver = fields.text("Name"), fields.text("Driver")
    if driver != "overlay":
        raise UnsupportedError(
            f'network {name}: local networks (driver "{driver or "bridge"}") cannot be created by Covey yet; use --driver overlay'
        )
    fields.constant("Scope", "swarm", "global")
    if fields.raw("EnableIPv4") is False:
        raise UnsupportedError(f"network {name}: EnableIPv4 = false is not supported by Covey yet; remove it")
    fields.read("ConfigFrom", lambda source: source.constant("Network"))
    spec = NetworkSpec(
        annotations=Annotations(name=name, labels=fields.text_map("Labels")),
        driver=Driver(name=driver, options=fields.text_map("Options")),
        ipv6=fields.flag("EnableIPv6"),
        internal=fields.flag("Internal"),
        attachable=fields.flag("Attachable"),
        ingress=fields.flag("Ingress"),
        ipam=fields.read("IPAM", _read_ipam) or IPAM(),
    )
    fields.refuse_unknown()
    return spec


def refuse_unsupported(spec: NetworkSpec) -> None:
    """Name the first thing this spec asks for that the cluster cannot do yet."""
    name = spec.annotations.name
    wishes = {"EnableIPv6": spec.ipv6, "Ingress": spec.ingress}
    for field, wished in wishes.items():
        if wished:
            raise UnsupportedError(f"network {name}: {field} is not supported by Covey yet; remove it")
    check_network_options(name, spec.driver.options)
    if spec.ipam.driver.name not in ("", "default") or spec.ipam.driver.options:
        raise UnsupportedError(
            f"network {name}: IPAM drivers and their options are not supported by Covey yet; remove them"
        )


def write_spec(spec: NetworkSpec) -> dict[str, Any]:
    """A creation request for this spec."""
    return {
        "Name": spec.annotations.name,
        "Labels": spec.annotations.labels,
        "Driver": spec.driver.name,
        "Options": spec.driver.options,
        "EnableIPv6": spec.ipv6,
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": spec.ingress,
        "IPAM": _write_ipam(spec.ipam),
    }


def write(network: Network) -> dict[str, Any]:
    """As ``docker network ls`` and ``inspect`` read it."""
    spec = network.spec
    return {
        "Name": spec.annotations.name,
        "Id": network.id,
        "Created": rfc3339(network.meta.created_at_ns),
        "Scope": "swarm",
        "Driver": spec.driver.name or "overlay",
        "EnableIPv4": True,
        "EnableIPv6": spec.ipv6,
        "IPAM": _write_ipam(network.ipam if network.ipam.configs else spec.ipam),
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": spec.ingress,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": spec.driver.options | ({VNI_OPTION: str(network.vni)} if network.vni else {}),
        "Labels": spec.annotations.labels,
    }


def write_task_network(network: Network) -> dict[str, Any]:
    """As a task shows it: the cluster's own object."""
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


def write_predefined(name: str, engine_id: str) -> dict[str, Any]:
    """One of the predefined networks of this host."""
    return {
        "Name": name,
        "Id": predefined_id(name, engine_id),
        "Created": ZERO,
        "Scope": "local",
        "Driver": _LOCAL_DRIVERS[name],
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": []},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {},
        "Labels": {},
    }


def predefined_id(name: str, engine_id: str) -> str:
    """A stable id of a predefined network: the same at each start of one host, another on another host."""
    return sha256(f"{engine_id}/{name}".encode()).hexdigest()


def _read_ipam(fields: JsonFields) -> IPAM:
    return IPAM(
        driver=Driver(name=fields.text("Driver"), options=fields.text_map("Options")),
        configs=fields.read_all("Config", _read_config),
    )


def _read_config(fields: JsonFields) -> IPAMConfig:
    return IPAMConfig(
        subnet=fields.text("Subnet"),
        ip_range=fields.text("IPRange"),
        gateway=fields.text("Gateway"),
        auxiliary_addresses=fields.text_map("AuxiliaryAddresses") or fields.text_map("AuxAddress"),
    )


def _write_ipam(ipam: IPAM) -> dict[str, Any]:
    return {
        "Driver": ipam.driver.name or "default",
        "Options": ipam.driver.options or None,
        "Config": [
            omit_empty(
                Subnet=config.subnet,
                IPRange=config.ip_range,
                Gateway=config.gateway,
                AuxiliaryAddresses=config.auxiliary_addresses or None,
            )
            for config in ipam.configs
        ],
    }
