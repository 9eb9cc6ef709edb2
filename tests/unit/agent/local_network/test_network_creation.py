"""Which networks a host may create, in Docker's words, and the subnets and gateways that they get."""

import pytest

from agent.local_network.creation import HostFacts, plan_network
from agent.local_network.model import LocalNetwork, NetworkRequirements
from agent.local_network.options import GatewayMode, read_bridge_options, read_vlan_options
from agent.local_network.subnets import unique_local_pool
from agent.network.model import HostRoute
from covey.errors import (
    AlreadyExistsError,
    ConflictError,
    CoveyError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from covey.network_pools import AddressPool
from covey.objects.network import IPAM, IPAMConfig

ICC = "com.docker.network.bridge.enable_icc"
MTU = "com.docker.network.driver.mtu"


NO_FACTS = HostFacts()


def plan(name: str = "web", *subnets: IPAMConfig, facts: HostFacts = NO_FACTS, **settings: object) -> LocalNetwork:
    wanted = NetworkRequirements(name=name, ipam=IPAM(configs=subnets), **settings)  # type: ignore[arg-type]
    return plan_network(wanted, facts, network_id="1" * 64, now_ns=7)


def subnet(text: str, **more: object) -> IPAMConfig:
    return IPAMConfig(subnet=text, **more)  # type: ignore[arg-type]


def test_a_network_without_a_subnet_gets_the_first_free_pool_and_its_first_address_as_gateway():
    taken = plan("other")
    assert taken.ipam.configs == (IPAMConfig(subnet="172.17.0.0/16", gateway="172.17.0.1"),)
    facts = HostFacts(networks=[taken], routes=[HostRoute("172.18.4.0/24", "tun0"), HostRoute("172.16.0.0/13", "eth9")])
    made = plan(facts=facts)
    assert made.ipam.configs == (IPAMConfig(subnet="172.24.0.0/16", gateway="172.24.0.1"),)
    assert (made.driver, made.subnets_given) == ("bridge", (False, False))


def test_pools_that_are_used_up_are_told_with_the_remedy():
    facts = HostFacts(pools4=[AddressPool("10.5.0.0/24", 25)], routes=[HostRoute("10.5.0.0/16", "eth0")])
    with pytest.raises(ConflictError, match="fully subnetted.*--subnet.*--default-address-pool"):
        plan(facts=facts)


def test_a_network_with_ipv6_takes_a_prefix_of_the_host_unless_the_user_names_one():
    facts = HostFacts(pools6=[unique_local_pool("engine")])
    made = plan(ipv6=True, facts=facts)
    prefix = made.ipam.configs[1].subnet
    assert prefix.startswith("fd")
    assert prefix.endswith("::/64")
    assert made.ipam.configs[1].gateway == f"{prefix.removesuffix('/64')}1"
    given = plan("web", subnet("fd77::/64"), ipv6=True, ipv4=False, facts=facts)
    assert given.ipam.configs == (IPAMConfig(subnet="fd77::/64", gateway="fd77::1"),)
    assert given.subnets_given == (False, True)


def test_a_range_gives_the_gateway_and_auxiliary_addresses_are_left_out():
    config = subnet("10.0.0.0/16", ip_range="10.0.5.0/24", auxiliary_addresses={"router": "10.0.5.0"})
    assert plan("web", config).ipam.configs[0].gateway == "10.0.5.1"
    assert (
        plan(
            "web",
            subnet("10.0.0.0/24"),
            options={"com.docker.network.bridge.gateway_mode_ipv4": "isolated"},
            internal=True,
        )
        .ipam.configs[0]
        .gateway
        == ""
    )


CONFIG_ONLY = plan("cfg", subnet("10.9.0.0/24"), config_only=True, options={MTU: "1400"}, labels={"a": "b"})
USED = plan("used", subnet("10.8.0.0/24"))
FACTS = HostFacts(networks=[CONFIG_ONLY, USED], routes=[HostRoute("10.7.1.0/24", "tun0")])


def test_a_config_only_network_has_no_subnet_of_its_own_and_gives_its_settings_to_others():
    assert (CONFIG_ONLY.driver, CONFIG_ONLY.config_only) == ("null", True)
    made = plan("web", config_from="cfg", driver="bridge", facts=FACTS)
    assert (made.options, made.labels, made.config_from) == ({MTU: "1400"}, {"a": "b"}, "cfg")
    assert made.ipam.configs == (IPAMConfig(subnet="10.9.0.0/24", gateway="10.9.0.1"),)


REFUSALS = [
    ({"name": "bridge"}, PermissionDeniedError, "operation is not permitted on predefined bridge network "),
    ({"name": "default"}, PermissionDeniedError, "operation is not permitted on predefined default network "),
    ({"name": " "}, InvalidArgumentError, "invalid name:  "),
    ({"name": "used"}, AlreadyExistsError, "network with name used already exists"),
    ({"driver": "nope"}, NotFoundError, 'plugin "nope" not found'),
    ({"driver": "host"}, PermissionDeniedError, 'only one instance of "host" network is allowed'),
    ({"driver": "null"}, PermissionDeniedError, 'only one instance of "null" network is allowed'),
    ({"ipv4": False}, InvalidArgumentError, "IPv4 or IPv6 must be enabled"),
    ({"options": {ICC: "maybe"}}, InvalidArgumentError, f'failed to parse {ICC} value: maybe (strconv.ParseBool: parsing "maybe": invalid syntax)'),
    ({"options": {MTU: "-5"}}, InvalidArgumentError, "invalid MTU number: -5"),
    ({"options": {MTU: "x"}}, InvalidArgumentError, f'failed to parse {MTU} value: x (strconv.Atoi: parsing "x": invalid syntax)'),
    ({"config_from": "cfg", "labels": {"a": "b"}}, PermissionDeniedError, "user specified configurations are not supported if the network depends on a configuration network"),
    ({"config_from": "used"}, NotFoundError, 'configuration network "used" does not exist'),
    ({"config_from": "cfg", "options": {"a": "b"}}, PermissionDeniedError, "network driver options are not supported if the network depends on a configuration network"),
    ({"config_from": "cfg", "config_only": True}, PermissionDeniedError, "a configuration network cannot depend on another configuration network"),
    ({"config_from": "cfg", "subnets": ["10.6.0.0/24"]}, PermissionDeniedError, "user specified configurations are not supported if the network depends on a configuration network"),
    ({"subnets": ["10.8.0.0/16"]}, PermissionDeniedError, "invalid pool request: Pool overlaps with other one on this address space"),
    ({"subnets": ["10.6.0.0/24", "10.6.0.0/25"]}, PermissionDeniedError, "invalid pool request: Pool overlaps with other one on this address space"),
    ({"subnets": ["10.7.0.0/16"]}, PermissionDeniedError, "the subnet 10.7.0.0/16 contains 10.7.1.0/24, which this host reaches by its own route on tun0: choose another subnet or remove the route"),
    ({"subnets": ["bad"]}, InvalidArgumentError, "invalid network config:\ninvalid subnet bad: invalid CIDR block notation"),
    ({"subnets": ["10.6.0.1/24"]}, InvalidArgumentError, "invalid network config:\ninvalid subnet 10.6.0.1/24: it should be 10.6.0.0/24"),
    ({"configs": [{"gateway": "10.5.0.1"}]}, InvalidArgumentError, "invalid network config:\ninvalid gateway 10.5.0.1: parent subnet 10.6.0.0/24 doesn't contain this address"),
    ({"configs": [{"gateway": "x"}]}, InvalidArgumentError, "invalid network config:\ninvalid gateway x: invalid address"),
    ({"configs": [{"ip_range": "10.5.0.0/25"}]}, InvalidArgumentError, "invalid network config:\ninvalid ip-range 10.5.0.0/25: parent subnet 10.6.0.0/24 doesn't contain ip-range"),
    ({"configs": [{"ip_range": "fd00::/64"}]}, InvalidArgumentError, "invalid network config:\ninvalid ip-range fd00::/64: parent subnet is an IPv4 block"),
    ({"configs": [{"gateway": "10.6.0.0"}]}, InvalidArgumentError, "invalid network config:\nfailed to allocate gateway (10.6.0.0): Address already in use by the subnet 10.6.0.0/24 itself"),
    ({"configs": [{"gateway": "10.6.0.255"}]}, InvalidArgumentError, "invalid network config:\nfailed to allocate gateway (10.6.0.255): Address already in use by the broadcasts of 10.6.0.0/24"),
    ({"configs": [{"gateway": "10.6.0.1", "auxiliary_addresses": {"x": "10.6.0.1"}}]}, InvalidArgumentError, "invalid network config:\nfailed to allocate secondary ip address (x:10.6.0.1): Address already in use by gateway (10.6.0.1)"),
    ({"subnets": ["127.8.0.0/16"]}, InvalidArgumentError, "invalid network config:\ninvalid subnet 127.8.0.0/16: it is within 127.0.0.0/8, the loopback addresses; choose another subnet"),
    ({"subnets": ["ff05::/64"], "ipv6": True}, InvalidArgumentError, "invalid network config:\ninvalid subnet ff05::/64: it is within ff00::/8, the multicast addresses; choose another subnet"),
    ({"driver": "macvlan", "options": {"parent": "eth0.4095"}}, InvalidArgumentError, "vlan id must be between 1-4094, received: 4095"),
    ({"configs": [{"auxiliary_addresses": {"x": "fd00::1"}}]}, InvalidArgumentError, "invalid network config:\ninvalid auxiliary address x: parent subnet is an IPv4 block"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "kind", "message"), REFUSALS, ids=lambda item: str(item)[:40])
def test_what_docker_refuses_is_refused_in_its_words(request_: dict[str, object], kind: type[CoveyError], message: str):
    settings = dict(request_)
    configs = [subnet(text) for text in settings.pop("subnets", [])]  # type: ignore[attr-defined]
    configs += [subnet("10.6.0.0/24", **more) for more in settings.pop("configs", [])]  # type: ignore[attr-defined]
    with pytest.raises(kind) as raised:
        plan(str(settings.pop("name", "web")), *configs, facts=FACTS, **settings)
    assert raised.value.message == message


def test_bridge_options_are_read_as_docker_reads_them_and_unknown_ones_have_no_effect():
    found = read_bridge_options({ICC: "0", "x": "y", "com.docker.network.bridge.gateway_mode_ipv6": "routed"})
    assert (found.icc, found.mode4, found.mode6) == (False, GatewayMode.NAT, GatewayMode.ROUTED)
    for options in (
        {"com.docker.network.bridge.name": "a" * 16},
        {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"},
        {"com.docker.network.bridge.gateway_mode_ipv4": "x"},
        {"com.docker.network.bridge.host_binding_ipv4": "x"},
        {"com.docker.network.container_iface_prefix": "much-too-long-x"},
    ):
        with pytest.raises(InvalidArgumentError):
            read_bridge_options(options)


def test_vlan_options_name_a_mode_and_a_parent():
    assert read_vlan_options("macvlan", {"parent": "eth0.50"}).mode == "bridge"
    assert read_vlan_options("ipvlan", {"ipvlan_mode": "l3", "ipvlan_flag": "vepa"}).flag == "vepa"
    for driver, options in (
        ("macvlan", {"macvlan_mode": "l2"}),
        ("ipvlan", {"ipvlan_mode": "l4"}),
        ("ipvlan", {"ipvlan_flag": "x"}),
        ("macvlan", {"parent": "lo"}),
        ("macvlan", {"parent": "a/b"}),
    ):
        with pytest.raises(InvalidArgumentError):
            read_vlan_options(driver, options)


def test_a_parent_in_mode_passthru_belongs_to_one_network_alone():
    first = plan("first", subnet("10.1.0.0/24"), driver="macvlan", options={"parent": "eth7"})
    facts = HostFacts(networks=[first])
    assert (
        plan("second", subnet("10.2.0.0/24"), driver="macvlan", options={"parent": "eth7"}, facts=facts).driver
        == "macvlan"
    )
    with pytest.raises(PermissionDeniedError, match="cannot use mode passthru, macvlan network first"):
        plan(
            "third",
            subnet("10.3.0.0/24"),
            driver="macvlan",
            options={"parent": "eth7", "macvlan_mode": "passthru"},
            facts=facts,
        )


def test_a_bridge_belongs_to_one_network_alone():
    named = {"com.docker.network.bridge.name": "br0"}
    first = plan("first", subnet("10.1.0.0/24"), options=named)
    with pytest.raises(PermissionDeniedError, match="networks have same bridge name"):
        plan("second", subnet("10.2.0.0/24"), options=named, facts=HostFacts(networks=[first]))
