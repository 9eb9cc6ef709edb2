import pytest

from covey.errors import UnsupportedError
from engine.translate import swarm


def test_a_data_path_of_its_own_is_refused_by_name_and_not_dropped() -> None:
    with pytest.raises(UnsupportedError, match="--data-path-addr 192.0.2.9"):
        swarm.read_init({"AdvertiseAddr": "192.0.2.1", "DataPathAddr": "192.0.2.9"})
    with pytest.raises(UnsupportedError, match="4790"):
        swarm.read_init({"DataPathPort": 4790})
    with pytest.raises(UnsupportedError, match="data path"):
        swarm.read_join({"RemoteAddrs": ["192.0.2.1"], "JoinToken": "x", "DataPathAddr": "eth1"})


def test_the_data_path_that_is_meant_anyway_may_be_named() -> None:
    assert swarm.read_init({"AdvertiseAddr": "192.0.2.1", "DataPathAddr": "192.0.2.1", "DataPathPort": 4789})
