"""How large a packet of an overlay network may be."""

import pytest

from agent.network.mtu import Underlay, choose_mtu
from covey.errors import UnsupportedError


@pytest.mark.parametrize(
    ("underlay", "wanted", "size"),
    [(1500, 0, 1450), (1400, 0, 1350), (9001, 0, 8950), (65536, 0, 8950), (1500, 576, 576)],
)
def test_a_network_takes_what_it_asks_for_or_what_the_host_carries(underlay: int, wanted: int, size: int) -> None:
    assert choose_mtu("web", wanted, Underlay("eth0", underlay)) == size


def test_a_wish_that_the_host_cannot_carry_is_refused_with_both_figures() -> None:
    assert choose_mtu("web", 1450, Underlay("eth0", 1500)) == 1450
    with pytest.raises(UnsupportedError, match="network web asks for an MTU of 1451, and eth0 .* 1500 carries 1450"):
        choose_mtu("web", 1451, Underlay("eth0", 1500))
