"""Requests of swarm init and join: validation of data path, pools and external CAs."""

from typing import Any

import pytest

from covey.errors import CoveyError, InvalidArgumentError
from covey.objects import ClusterSpec
from engine.translate import swarm


def test_a_data_path_of_its_own_is_taken_and_its_port_has_dockers_range() -> None:
    read = swarm.read_init({"DataPathAddr": "192.0.2.9", "DataPathPort": 5789})
    assert (read.data_path_addr, read.data_path_port) == ("192.0.2.9", 5789)
    assert swarm.read_join({"RemoteAddrs": ["a"], "JoinToken": "x", "DataPathAddr": "eth1"}).data_path_addr == "eth1"
    for port in (1, 1023, 49152, 70000):
        with pytest.raises(InvalidArgumentError, match=r"Datapath port number is not in valid range \(1024-49151\)"):
            swarm.read_init({"DataPathPort": port})


def test_raft_ticks_and_a_short_heartbeat_become_the_nearest_that_work(caplog: pytest.LogCaptureFixture) -> None:
    spec = {"Raft": {"ElectionTick": 3, "HeartbeatTick": 2}, "Dispatcher": {"HeartbeatPeriod": 1_000_000}}
    assert swarm.read_init({"Spec": spec}).spec == ClusterSpec(heartbeat_period_ns=100_000_000)
    assert "Raft.ElectionTick = 3" in caplog.text
    assert "HeartbeatPeriod = 1000000 ns becomes 100000000 ns" in caplog.text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"Spec": {"CAConfig": {"NodeCertExpiry": 60_000_000_000}}}, "minimum certificate expiry time"),
        ({"Spec": {"Dispatcher": {"HeartbeatPeriod": 10**12}}}, "heartbeat period"),
        ({"Spec": {"Orchestration": {"TaskHistoryRetentionLimit": 1000}}}, "task history"),
        ({"Spec": {"Raft": {"ElectionTick": 1, "HeartbeatTick": 3}}}, "ElectionTick must be greater"),
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
