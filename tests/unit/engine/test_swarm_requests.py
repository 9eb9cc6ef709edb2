"""Requests of swarm init and join: validation of data path, pools and external CAs."""

from typing import Any

import pytest

from covey.errors import CoveyError, UnsupportedError
from covey.objects import ClusterSpec
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


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"Spec": {"CAConfig": {"NodeCertExpiry": 60_000_000_000}}}, "minimum certificate expiry time"),
        ({"Spec": {"Dispatcher": {"HeartbeatPeriod": 1_000_000}}}, "heartbeat period"),
        ({"Spec": {"Orchestration": {"TaskHistoryRetentionLimit": 1000}}}, "task history"),
        ({"Spec": {"Raft": {"ElectionTick": 3}}}, "ElectionTick"),
        ({"DefaultAddrPool": ["10.0.0.0/8"], "SubnetSize": 4}, "subnet size"),
        (
            {"Spec": {"CAConfig": {"ExternalCAs": [{"Protocol": "cfssl", "URL": "https://ca.example/"}]}}},
            "CA https://ca.example/ would never be used: create the cluster without it; .*swarm ca --rotate --ca-cert ROOT --external-ca",
        ),
        ({"DefaultAddrPool": ["10.20.0.0/28"]}, "subnet size 24"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused_before_a_cluster_is_made(
    body: dict[str, Any], words: str
) -> None:
    with pytest.raises(CoveyError, match=words):
        swarm.read_init(body)


def test_zeros_and_the_values_that_are_shown_are_taken_at_init() -> None:
    shown = swarm.write_spec(ClusterSpec())
    for spec in ({}, {"Raft": {"ElectionTick": 0, "HeartbeatTick": 0}}, shown):
        assert swarm.read_init({"Spec": spec}).spec == ClusterSpec()
