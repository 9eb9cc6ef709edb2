"""The networks of a host over restarts: what is stored, found, refused and told."""

from pathlib import Path

import pytest

from agent.local_network.model import BRIDGE, LocalNetwork, NetworkRequirements
from agent.local_network.networks import LocalNetworks
from covey.default_bridge import DefaultBridge
from covey.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, PermissionDeniedError
from covey.objects.network import IPAMConfig


def opened(folder: Path) -> LocalNetworks:
    networks = LocalNetworks(folder / "networks.db", engine_id="engine", bridge="covey0")
    networks.open([])
    return networks


def test_networks_survive_a_restart_and_the_predefined_ones_keep_their_ids(tmp_path: Path):
    first = opened(tmp_path)
    made = first.plan(NetworkRequirements(name="web", labels={"a": "b"}), [], 7)
    first.add(made)
    ids = {network.name: network.id for network in first.list()}
    first.close()
    later = opened(tmp_path)
    assert {network.name: network.id for network in later.list()} == ids
    assert later.get("web") == made
    bridge = later.get(BRIDGE)
    assert bridge.ipam.configs[0].subnet == "172.17.0.0/16"
    assert bridge.options["com.docker.network.bridge.name"] == "covey0"
    later.remove(later.get("web"))
    later.close()
    assert opened(tmp_path).find("web") is None


def test_the_daemons_options_configure_the_default_bridge_at_each_start(tmp_path: Path):
    def start(settings: DefaultBridge) -> LocalNetwork:
        networks = LocalNetworks(tmp_path / "networks.db", engine_id="engine", bridge="covey0", settings=settings)
        networks.open([])
        bridge = networks.get(BRIDGE)
        networks.close()
        return bridge

    first = start(DefaultBridge())
    assert start(DefaultBridge()) == first
    chosen = start(DefaultBridge(bip="10.9.0.1/16", fixed_cidr="10.9.4.0/24", icc=False, mtu=1400, binding="127.0.0.1"))
    assert chosen.id == first.id
    config = IPAMConfig(subnet="10.9.0.0/16", ip_range="10.9.4.0/24", gateway="10.9.0.1")
    assert chosen.ipam.configs == (config,)
    assert chosen.options["com.docker.network.bridge.enable_icc"] == "false"
    assert chosen.options["com.docker.network.driver.mtu"] == "1400"
    assert chosen.options["com.docker.network.bridge.host_binding_ipv4"] == "127.0.0.1"
    dual = start(DefaultBridge(ipv6=True, fixed_cidr6="fd00:9::/64"))
    assert dual.ipv6
    assert dual.ipam.configs == (config, IPAMConfig(subnet="fd00:9::/64", gateway="fd00:9::1"))
    assert start(DefaultBridge()).ipam.configs == (config,)


def test_a_network_is_found_by_id_name_and_unique_beginning(tmp_path: Path):
    networks = opened(tmp_path)
    made = networks.plan(NetworkRequirements(name="web"), [], 7)
    networks.add(made)
    assert networks.get(made.id) is networks.get(made.id[:20]) is networks.get("web")
    with pytest.raises(NotFoundError, match="network nowhere not found"):
        networks.get("nowhere")
    assert networks.find("") is None
    with pytest.raises(AlreadyExistsError, match="network with name web already exists"):
        networks.plan(NetworkRequirements(name="web"), [], 7)


def test_an_ambiguous_beginning_of_an_id_is_refused(tmp_path: Path):
    networks = opened(tmp_path)
    for number in range(40):
        networks.add(networks.plan(NetworkRequirements(name=f"n{number}", config_only=True), [], 7))
    first = [network.id[0] for network in networks.list()]
    shared = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(InvalidArgumentError, match="is ambiguous"):
        networks.find(shared)


def test_networks_in_use_are_not_removed(tmp_path: Path):
    networks = opened(tmp_path)
    source = networks.plan(NetworkRequirements(name="cfg", config_only=True), [], 7)
    networks.add(source)
    made = networks.plan(NetworkRequirements(name="web", config_from="cfg"), [], 7)
    networks.add(made)
    with pytest.raises(PermissionDeniedError, match='configuration network "cfg" is in use'):
        networks.check_removable(source)
    with pytest.raises(PermissionDeniedError, match="bridge is a pre-defined network and cannot be removed"):
        networks.check_removable(networks.get("bridge"))
    networks.addresses.allocate(made, "container")
    with pytest.raises(PermissionDeniedError) as refused:
        networks.check_removable(made)
    assert refused.value.message == f"error while removing network: network web id {made.id} has active endpoints"
    networks.addresses.release(made.id, "container")
    networks.check_removable(made)


def test_creation_and_removal_are_told_with_dockers_attributes(tmp_path: Path):
    networks = opened(tmp_path)
    made = networks.plan(NetworkRequirements(name="web"), [], 7)
    with networks.events.subscribe() as events:
        networks.add(made)
        networks.remove(made)
        told = [events._events[0], events._events[1]]  # noqa: SLF001 (what is queued, without a wait)
    assert [(each.action, each.network_id, each.attributes) for each in told] == [
        ("create", made.id, {"name": "web", "type": "bridge"}),
        ("destroy", made.id, {"name": "web", "type": "bridge"}),
    ]
