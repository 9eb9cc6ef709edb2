"""Network requests: create and remove. Pure functions on a transaction, called by the servicer.

The allocator chooses subnets and VNIs later.
"""

import ipaddress

from covey.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    PermissionDeniedError,
    PreconditionError,
    TooLargeError,
    UnsupportedError,
)
from covey.ids import IdSource
from covey.network_options import check_network_options, requested_vni
from covey.objects import Driver, IPAMConfig, Network, NetworkSpec, Task, replace
from covey.states import TaskState
from covey.task_predicates import is_attachment, should_run
from manager.control.name_validation import require_network_name
from manager.store import Tx, View

MAX_NETWORKS = 4096


def create_network(tx: Tx, spec: NetworkSpec, new_id: IdSource) -> str:
    """Stores a new overlay network and returns its id."""
    require_network_name(spec.annotations)
    _refuse_unsupported(spec)
    name = spec.annotations.name
    if name in {"bridge", "host", "none", "ingress"}:
        raise PermissionDeniedError(f"operation is not permitted on predefined {name} network")
    if tx.networks.by_name(name) is not None:
        raise AlreadyExistsError(f"network with name {name} already exists")
    if len(tx.networks) >= MAX_NETWORKS:
        raise TooLargeError(f"the cluster has {MAX_NETWORKS} networks, which is the limit; remove one first")
    _require_free_vni(tx, spec)
    for config in spec.ipam.configs:
        _require_pool(tx, config)
    driver = Driver(name="overlay", options=spec.driver.options)
    network = Network(id=new_id(), spec=replace(spec, driver=driver))
    tx.create(network)
    return network.id


def _require_free_vni(tx: Tx, spec: NetworkSpec) -> None:
    """Refuses a VXLAN id that another network has or asks for."""
    name = spec.annotations.name
    wanted = requested_vni(name, spec.driver.options)
    for other in tx.networks if wanted else ():
        other_name = other.spec.annotations.name
        if wanted in (other.vni, requested_vni(other_name, other.spec.driver.options)):
            raise PreconditionError(
                f"network {name}: the VXLAN id {wanted} is used by network {other_name}; choose another or leave it out"
            )


def remove_network(tx: Tx, ref: str) -> str:
    """Removes a network that no service and no active task uses."""
    network = tx.networks.find(ref)
    name = network.spec.annotations.name
    services = tx.services.by_network(network.id)
    if services:
        raise PreconditionError(f"network {name} is in use by service {services[0].spec.annotations.name}")
    for task in tx.tasks.by_network(network.id):
        if _holds_network(task):
            raise PreconditionError(f"network {name} is in use by task {task.id}")
    tx.remove(Network, network.id)
    return network.id


def is_being_released(view: View, ref: str) -> bool:
    """Whether the network is held, but only by tasks of a removed service, which will be told to stop, or by leftover addresses."""
    network = view.networks.find(ref)
    services = view.services.by_network(network.id)
    if any(item.target == network.id for service in services for item in service.spec.task.networks):
        return False
    tasks = [task for task in view.tasks.by_network(network.id) if _holds_network(task)]
    return bool(services or tasks) and all(
        view.services.get(task.service_id) is None and not is_attachment(task) for task in tasks
    )


def _holds_network(task: Task) -> bool:
    """Whether the task uses the network and should go on. One that is stopping keeps its interface until it has stopped."""
    return should_run(task) and task.status.state >= TaskState.ASSIGNED and not task.status.state.terminal


def _refuse_unsupported(spec: NetworkSpec) -> None:
    if spec.driver.name not in {"", "overlay"}:
        raise UnsupportedError(
            f"cluster networks use the driver overlay; {spec.driver.name} is not supported in a cluster"
        )
    check_network_options(spec.annotations.name, spec.driver.options)
    if spec.ipv6:
        raise UnsupportedError("IPv6 on overlay networks is not supported yet: create the network without --ipv6")
    if spec.ingress:
        raise UnsupportedError("the ingress network is not supported yet: create the network without --ingress")
    if spec.ipam.driver.name not in {"", "default"}:
        raise UnsupportedError(f"IPAM driver {spec.ipam.driver.name} is not supported: use default")
    for option in sorted(spec.ipam.driver.options):
        raise UnsupportedError(f"the IPAM driver option {option!r} is not supported: remove it")
    if len(spec.ipam.configs) > 1:
        raise UnsupportedError("more than one subnet for an overlay network is not supported: give one")


def _require_pool(view: View, config: IPAMConfig) -> None:
    """Refuses an invalid subnet, one without its gateway and IP range, or one that overlaps another network."""
    if not config.subnet:
        if config.gateway or config.ip_range or config.auxiliary_addresses:
            raise InvalidArgumentError("invalid network config: a gateway or an IP range needs a subnet")
        return
    try:
        subnet = ipaddress.ip_network(config.subnet, strict=False)
    except ValueError:
        raise InvalidArgumentError(
            f"invalid network config: invalid subnet {config.subnet}: invalid CIDR block notation"
        ) from None
    if not isinstance(subnet, ipaddress.IPv4Network):
        raise UnsupportedError(f"IPv6 on overlay networks is not supported yet: subnet {config.subnet}")
    if subnet.prefixlen > 29:
        raise InvalidArgumentError(f"invalid network config: subnet {config.subnet} is too small; use /29 or larger")
    _require_inside("gateway", config.gateway, subnet)
    for name, address in sorted(config.auxiliary_addresses.items()):
        _require_inside(f"auxiliary address {name}", address, subnet)
    if config.ip_range:
        try:
            inside = ipaddress.IPv4Network(config.ip_range, strict=False).subnet_of(subnet)
        except ValueError:
            raise InvalidArgumentError(f"invalid network config: invalid IP range {config.ip_range}") from None
        if not inside:
            raise InvalidArgumentError(f"invalid network config: IP range {config.ip_range} is not in subnet {subnet}")
    _require_free(view, subnet)


def _require_inside(what: str, address: str, subnet: ipaddress.IPv4Network) -> None:
    if not address:
        return
    try:
        inside = ipaddress.IPv4Address(address) in subnet
    except ValueError:
        raise InvalidArgumentError(f"invalid network config: invalid {what} {address}") from None
    if not inside:
        raise InvalidArgumentError(f"invalid network config: {what} {address} is not in subnet {subnet}")


def _require_free(view: View, subnet: ipaddress.IPv4Network) -> None:
    for network in view.networks:
        for config in (*network.spec.ipam.configs, *network.ipam.configs):
            if config.subnet and subnet.overlaps(ipaddress.IPv4Network(config.subnet, strict=False)):
                name = network.spec.annotations.name
                raise PermissionDeniedError(
                    f"Pool overlaps with other one on this address space: {subnet} overlaps {config.subnet} of network {name}"
                )
