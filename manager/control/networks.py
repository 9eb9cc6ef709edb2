"""Network requests: create and remove. Pure functions on a transaction, called by the servicer.

Invariant: there is one ingress network at most. The allocator chooses subnets and VNIs later.
"""

from covey.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    PermissionDeniedError,
    PreconditionError,
    TooLargeError,
    UnsupportedError,
)
from covey.ids import IdSource
from covey.ipam_validation import Subnet, check_ipam, overlap, parse_subnet
from covey.network_options import (
    MESH_SNAT_OPTION,
    MULTICAST_OPTION,
    PREDEFINED_LABEL,
    check_network_options,
    requested_vni,
)
from covey.objects import Driver, Network, NetworkSpec, Task, replace
from covey.states import TaskState
from covey.task_predicates import is_attachment, should_run
from manager.control.name_validation import require_network_name
from manager.service_ports import endpoint_spec, needs_ingress
from manager.store import Tx, View

MAX_NETWORKS = 4096
CLUSTER_DRIVERS = ("overlay", "macvlan", "ipvlan")
PREFIX_LENGTHS = {4: (8, 30), 6: (16, 126)}
"""The largest and the smallest subnet of a network, by family."""


def create_network(tx: Tx, spec: NetworkSpec, new_id: IdSource) -> str:
    """Stores a new network and returns its id."""
    require_network_name(spec.annotations)
    _require_supported(spec)
    name = spec.annotations.name
    if name in {"bridge", "host", "none"}:
        raise PermissionDeniedError(f"operation is not permitted on predefined {name} network")
    present = tx.networks.ingress()
    if spec.ingress and present is not None:
        raise AlreadyExistsError(f"ingress network ({present.id}) is already present")
    if tx.networks.by_name(name) is not None:
        raise AlreadyExistsError(f"network with name {name} already exists")
    if len(tx.networks) >= MAX_NETWORKS:
        raise TooLargeError(f"the cluster has {MAX_NETWORKS} networks, which is the limit; remove one first")
    driver = Driver(name=spec.driver.name or "overlay", options=spec.driver.options)
    network = Network(id=new_id(), spec=replace(spec, driver=driver))
    if not network.node_local:
        _require_free_vni(tx, spec)
        _require_valid_addresses(tx, spec)
    tx.create(network)
    return network.id


def _require_free_vni(tx: Tx, spec: NetworkSpec) -> None:
    """Refuses a VXLAN id that another network has or asks for."""
    name = spec.annotations.name
    wanted = requested_vni(name, spec.driver.options)
    for other in tx.networks if wanted else ():
        other_name = other.spec.annotations.name
        if not other.node_local and wanted in (other.vni, requested_vni(other_name, other.spec.driver.options)):
            raise PreconditionError(
                f"network {name}: the VXLAN id {wanted} is used by network {other_name}; choose another or leave it out"
            )


def remove_network(tx: Tx, ref: str) -> str:
    """Removes a network that no service and no active task uses."""
    network = tx.networks.find(ref)
    name = network.spec.annotations.name
    if PREDEFINED_LABEL in network.spec.annotations.labels:
        raise PermissionDeniedError(f"{name} is a pre-defined network and cannot be removed")
    services = tx.services.by_network(network.id)
    for service in tx.services if network.spec.ingress else ():
        if needs_ingress(endpoint_spec(service)):
            raise PreconditionError(
                f"ingress network cannot be removed because service {service.spec.annotations.name} depends on it"
            )
    if services and not network.spec.ingress:
        raise PreconditionError(f"network {name} is in use by service {services[0].spec.annotations.name}")
    for task in () if network.spec.ingress else tx.tasks.by_network(network.id):
        if _holds_network(task):
            raise PreconditionError(f"network {name} is in use by task {task.id}")
    tx.remove(Network, network.id)
    for cluster in tx.clusters:
        if network.vni > cluster.highest_vni:
            # The next networks get ids above it, also from a new leader: hosts may hold devices of this one for a while.
            tx.update(replace(cluster, highest_vni=network.vni))
    return network.id


def is_being_released(view: View, ref: str) -> bool:
    """Whether the network is held, but only by tasks of a removed service, which will be told to stop, or by leftover addresses."""
    network = view.networks.find(ref)
    services = view.services.by_network(network.id)
    if network.spec.ingress:
        return False
    if any(item.target == network.id for service in services for item in service.spec.task.networks):
        return False
    tasks = [task for task in view.tasks.by_network(network.id) if _holds_network(task)]
    return bool(services or tasks) and all(
        view.services.get(task.service_id) is None and not is_attachment(task) for task in tasks
    )


def _holds_network(task: Task) -> bool:
    """Whether the task uses the network and should go on. One that is stopping keeps its interface until it has stopped."""
    return should_run(task) and task.status.state >= TaskState.ASSIGNED and not task.status.state.terminal


def _require_supported(spec: NetworkSpec) -> None:
    """Refuses what no network of the cluster can be."""
    name, driver = spec.annotations.name, spec.driver.name or "overlay"
    if PREDEFINED_LABEL in spec.annotations.labels:
        raise PermissionDeniedError(
            f"label {PREDEFINED_LABEL} is for internally created predefined networks and cannot be applied by users"
        )
    if driver not in CLUSTER_DRIVERS:
        raise UnsupportedError(
            f"network {name}: the driver {driver} is not supported in a cluster; use one of {', '.join(CLUSTER_DRIVERS)}"
        )
    if spec.ingress and driver != "overlay":
        raise InvalidArgumentError(f"network {name}: the ingress network needs the driver overlay")
    if spec.ingress and (spec.attachable or spec.internal):
        raise InvalidArgumentError(
            f"network {name}: the ingress network cannot be attachable or internal; remove these options"
        )
    if driver == "overlay":
        if spec.config_from:
            raise InvalidArgumentError(
                f"network {name}: an overlay network takes no configuration from a network of each node; remove --config-from"
            )
        check_network_options(name, spec.driver.options)
        if MESH_SNAT_OPTION in spec.driver.options and not spec.ingress:
            raise InvalidArgumentError(
                f"network {name}: the option {MESH_SNAT_OPTION} is one of the ingress network: remove it, or create it with --ingress"
            )
        if MULTICAST_OPTION in spec.driver.options and spec.ingress:
            raise InvalidArgumentError(
                f"network {name}: the ingress network carries no multicasts; remove the option {MULTICAST_OPTION}"
            )
    if spec.ipam.driver.name not in {"", "default"}:
        raise UnsupportedError(f"IPAM driver {spec.ipam.driver.name} is not supported: use default")
    for option in sorted(spec.ipam.driver.options):
        raise UnsupportedError(f"the IPAM driver option {option!r} is not supported: remove it")


def _require_valid_addresses(view: View, spec: NetworkSpec) -> None:
    """Refuses subnets that are malformed, too small or too large, or that overlap another network of the cluster."""
    name = spec.annotations.name
    check_ipam(spec.ipam.configs, ipv6=spec.ipv6)
    for config in spec.ipam.configs:
        if not config.subnet or (":" in config.subnet and not spec.ipv6):
            continue
        subnet = parse_subnet(config.subnet)
        shortest, longest = PREFIX_LENGTHS[subnet.version]
        if not shortest <= subnet.prefixlen <= longest:
            raise InvalidArgumentError(
                f"invalid network config: subnet {config.subnet} of network {name} must be from /{shortest} to /{longest}"
            )
        _require_free(view, subnet)
        _require_no_route(view, name, subnet)


def _require_no_route(view: View, name: str, subnet: Subnet) -> None:
    """Refuses a subnet that contains a route of a node: the node would have two ways to the same addresses."""
    for node in view.nodes:
        for route in node.description.routes:
            destination = parse_subnet(route.destination)
            if destination.prefixlen >= subnet.prefixlen and overlap(subnet, destination):
                raise PermissionDeniedError(
                    f"network {name}: the subnet {subnet} contains {destination}, which node {node.description.hostname} reaches by its "
                    f"own route on {route.device}: choose another subnet"
                )


def _require_free(view: View, subnet: Subnet) -> None:
    for network in view.networks:
        for config in () if network.node_local else (*network.spec.ipam.configs, *network.ipam.configs):
            if config.subnet and overlap(subnet, parse_subnet(config.subnet)):
                name = network.spec.annotations.name
                raise PermissionDeniedError(
                    f"Pool overlaps with other one on this address space: {subnet} overlaps {config.subnet} of network {name}"
                )
