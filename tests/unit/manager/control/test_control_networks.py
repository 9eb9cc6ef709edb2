"""Specs and names of networks that the control API refuses, on an in-memory store."""

from functools import partial
from typing import Any

import pytest

from covey import codec
from covey.errors import CoveyError, InvalidArgumentError, PermissionDeniedError, TooLargeError, UnsupportedError
from covey.network_options import MTU_OPTION
from covey.objects import IPAM, Annotations, Driver, IPAMConfig, Network, NetworkSpec
from coveypb.v1 import control_pb2
from manager.control.servicer import ControlServicer
from manager.store import Store, Tx


async def network(control: ControlServicer, name: str, **spec: Any) -> Any:
    wanted = NetworkSpec(**({"annotations": Annotations(name=name)} | spec))
    return await control.CreateNetwork(control_pb2.CreateNetworkRequest(spec=codec.to_wire(wanted)), None)


NETWORKS_REFUSED: list[tuple[dict[str, Any], type[CoveyError], str]] = [
    ({"driver": Driver(name="bridge")}, UnsupportedError, "bridge"),
    ({"driver": Driver(options={"covey.mesh.snat": "true"})}, InvalidArgumentError, "create it with --ingress"),
    (
        {"driver": Driver(options={"covey.multicast": "yes"})},
        InvalidArgumentError,
        "covey.multicast must be true or false",
    ),
    (
        {"ingress": True, "driver": Driver(options={"covey.multicast": "true"})},
        InvalidArgumentError,
        "carries no multicasts",
    ),
    (
        {"ingress": True, "driver": Driver(options={"covey.mesh.snat": "on"})},
        InvalidArgumentError,
        "must be true or false",
    ),
    ({"driver": Driver(options={f"o{at}": "" for at in range(65)})}, InvalidArgumentError, "at most 64 options"),
    ({"config_from": "mine"}, InvalidArgumentError, "remove --config-from"),
    ({"ingress": True, "attachable": True}, InvalidArgumentError, "ingress network cannot be attachable"),
    (
        {"annotations": Annotations(name="front", labels={"com.docker.swarm.predefined": "true"})},
        PermissionDeniedError,
        "is for internally created predefined networks",
    ),
    ({"driver": Driver(options={MTU_OPTION: "9"})}, InvalidArgumentError, "a number from 576 to 65485, not '9'"),
    ({"driver": Driver(options={MTU_OPTION: "+900"})}, InvalidArgumentError, "a number from"),
    ({"ipam": IPAM(configs=(IPAMConfig(subnet="10.9.0.0/31"),))}, InvalidArgumentError, "from /8 to /30"),
    ({"ipam": IPAM(configs=(IPAMConfig(subnet="0.0.0.0/0"),))}, InvalidArgumentError, "from /8 to /30"),
    (
        {"ipv6": True, "ipam": IPAM(configs=(IPAMConfig(subnet="fd00::/127"),))},
        InvalidArgumentError,
        "from /16 to /126",
    ),
    (
        {"ipam": IPAM(configs=(IPAMConfig(subnet="10.9.0.5/24"),))},
        InvalidArgumentError,
        "invalid subnet 10.9.0.5/24: it should be 10.9.0.0/24",
    ),
    (
        {"ipam": IPAM(configs=(IPAMConfig(subnet="10.9.0.0/16"), IPAMConfig(subnet="10.9.1.0/24")))},
        InvalidArgumentError,
        "invalid subnet 10.9.1.0/24: it overlaps the subnet 10.9.0.0/16",
    ),
    ({"ipam": IPAM(configs=(IPAMConfig(subnet="10.0.0.0/33"),))}, InvalidArgumentError, "invalid CIDR"),
    (
        {"ipam": IPAM(configs=(IPAMConfig(subnet="10.9.0.0/24", gateway="10.8.0.1"),))},
        InvalidArgumentError,
        "invalid gateway 10.8.0.1: parent subnet 10.9.0.0/24 doesn't contain this address",
    ),
    (
        {"ipam": IPAM(configs=(IPAMConfig(subnet="10.9.0.0/24", ip_range="10.8.0.0/28"),))},
        InvalidArgumentError,
        "invalid ip-range 10.8.0.0/28: parent subnet 10.9.0.0/24 doesn't contain ip-range",
    ),
    ({"ipam": IPAM(configs=(IPAMConfig(gateway="10.8.0.1"),))}, InvalidArgumentError, "invalid CIDR block notation"),
    ({"ipam": IPAM(configs=(IPAMConfig(subnet="10.1.128.0/24"),))}, PermissionDeniedError, "Pool overlaps"),
]


@pytest.mark.parametrize(("spec", "error", "words"), NETWORKS_REFUSED)
async def test_an_invalid_network_spec_is_refused(
    control: ControlServicer, store: Store, spec: dict[str, Any], error: type[CoveyError], words: str
) -> None:
    await network(control, "taken", ipam=IPAM(configs=(IPAMConfig(subnet="10.1.0.0/16"),)))
    with pytest.raises(error, match=words):
        await network(control, "front", **spec)
    assert len(store.view().networks) == 1


@pytest.mark.parametrize("name", ["", "bridge", "-x", "a/b"])
async def test_an_invalid_network_name_is_refused(control: ControlServicer, name: str) -> None:
    with pytest.raises(CoveyError):
        await network(control, name)


async def test_one_more_than_4096_networks_is_refused_by_the_limit(control: ControlServicer, store: Store) -> None:
    names = [f"n{number}" for number in range(4096)]
    await store.batch([partial(_create, name) for name in names])
    with pytest.raises(TooLargeError, match="has 4096 networks, which is the limit; remove one first"):
        await network(control, "front")
    assert len(store.view().networks) == 4096


def _create(name: str, tx: Tx) -> None:
    tx.create(Network(id=name, spec=NetworkSpec(annotations=Annotations(name=name))))
