"""Subnets of a new network: each range, gateway and auxiliary address goes to the subnet that contains it."""

from typing import Any

import pytest

from cli.parse.network_subnets import subnet_configs
from covey.errors import InvalidArgumentError


def configs(**flags: Any) -> list[dict[str, Any]]:
    lists = [flags.get(name, ()) for name in ("subnets", "ranges", "gateways")]
    return subnet_configs(*lists, flags.get("auxiliary", {}))


def test_flags_of_several_subnets_come_in_any_order() -> None:
    found = configs(
        subnets=("10.0.0.0/24", "fd00::/64"),
        ranges=("10.0.0.128/25",),
        gateways=("fd00::9", "10.0.0.9"),
        auxiliary={"router": "fd00::5"},
    )
    assert found == [
        {"Subnet": "10.0.0.0/24", "IPRange": "10.0.0.128/25", "Gateway": "10.0.0.9"},
        {"Subnet": "fd00::/64", "Gateway": "fd00::9", "AuxiliaryAddresses": {"router": "fd00::5"}},
    ]
    assert configs() == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"gateways": ("10.0.0.1",)}, "every ip-range or gateway must have a corresponding subnet"),
        ({"subnets": ("10.0.0.0/24", "10.0.0.0/25")}, "multiple overlapping subnet configuration is not supported"),
        ({"subnets": ("10.0.0.0/24",), "gateways": ("10.1.0.1",)}, "no matching subnet for gateway 10.1.0.1"),
        ({"subnets": ("10.0.0.0/24",), "ranges": ("10.1.0.0/25",)}, "no matching subnet for range 10.1.0.0/25"),
        ({"subnets": ("10.0.0.0/24",), "auxiliary": {"a": "10.1.0.1"}}, "no matching subnet for aux-address 10.1.0.1"),
        (
            {"subnets": ("10.0.0.0/24", "10.1.0.0/24"), "gateways": ("10.0.0.1", "10.0.0.2")},
            r"cannot configure multiple gateways \(10.0.0.2, 10.0.0.1\) on the same subnet",
        ),
        ({"subnets": ("bad",)}, "invalid CIDR address: bad"),
    ],
)
def test_what_does_not_fit_is_refused_in_dockers_words(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        configs(**flags)
