"""MTU of an overlay network."""

import pytest

from agent.network.mtu import Underlay, choose_mtu
from covey.errors import UnsupportedError


@pytest.mark.parametrize(
    ("underlay", "wanted", "size"),
    [(1500, 0, 1450), (1400, 0, 1350), (9001, 0, 8950), (65536, 0, 8950), (1500, 576, 576)],
)
def test_a_network_gets_the_requested_mtu_or_what_the_host_carries(underlay: int, wanted: int, size: int) -> None:
    assert choose_mtu("web", wanted, Underlay("eth0", underlay)) == size


def test_an_mtu_that_the_host_cannot_carry_is_refused_with_both_values() -> None:
    assert choose_mtu("web", 1450, Underlay("eth0", 1500)) == 1450
    with pytest.raises(UnsupportedError, match="network web requests an MTU of 1451, but eth0 .* 1500 carries 1450"):
        choose_mtu("web", 1451, Underlay("eth0", 1500))
