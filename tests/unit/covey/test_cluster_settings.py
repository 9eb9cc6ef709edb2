"""Validation of cluster settings and default address pools."""

from typing import Any

import pytest

from covey.clock import HOUR, MINUTE
from covey.cluster_settings import check_address_pools, check_cluster_spec
from covey.errors import CoveyError, InvalidArgumentError, UnsupportedError
from covey.objects import CASettings, ClusterSpec, RaftSettings
from covey.objects.base import Annotations, Driver


def test_the_defaults_are_allowed() -> None:
    check_cluster_spec(ClusterSpec())
    check_cluster_spec(ClusterSpec(auto_lock=True))
    check_address_pools(("10.0.0.0/8",), 24)


def test_the_limits_themselves_are_allowed() -> None:
    for history in (0, 100):
        check_cluster_spec(ClusterSpec(task_history=history))
    for period_ns in (100_000_000, MINUTE):
        check_cluster_spec(ClusterSpec(heartbeat_period_ns=period_ns))
    for life_ns in (HOUR, 10 * 365 * 24 * HOUR):
        check_cluster_spec(ClusterSpec(ca=CASettings(node_cert_expiry_ns=life_ns)))
    check_cluster_spec(ClusterSpec(raft=RaftSettings(keep_old_snapshots=100, snapshot_interval=1)))


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"annotations": Annotations(name="other")}, InvalidArgumentError, 'must be named "default"'),
        ({"task_history": -1}, InvalidArgumentError, "task history limit must be from 0 to 100, not -1"),
        ({"task_history": 101}, InvalidArgumentError, "task history limit must be from 0 to 100, not 101"),
        (
            {"task_log_driver": Driver(name="gelf")},
            InvalidArgumentError,
            r'TaskDefaults.LogDriver: .* "gelf" not found',
        ),
        (
            {"ca": CASettings(node_cert_expiry_ns=HOUR - 1)},
            InvalidArgumentError,
            "minimum certificate expiry time is: 1h",
        ),
        ({"ca": CASettings(node_cert_expiry_ns=90_000 * HOUR)}, InvalidArgumentError, "maximum certificate expiry"),
        ({"heartbeat_period_ns": 99_000_000}, InvalidArgumentError, "heartbeat period must be .* not 0.099 s"),
        ({"heartbeat_period_ns": MINUTE + 1}, InvalidArgumentError, "heartbeat period"),
        ({"raft": RaftSettings(election_tick=3)}, UnsupportedError, "Raft.ElectionTick = 3 .* always 10"),
        ({"raft": RaftSettings(heartbeat_tick=2)}, UnsupportedError, "Raft.HeartbeatTick = 2 .* always 1"),
        ({"raft": RaftSettings(keep_old_snapshots=101)}, InvalidArgumentError, "old snapshots"),
        ({"raft": RaftSettings(snapshot_interval=0)}, InvalidArgumentError, "snapshot interval"),
        ({"raft": RaftSettings(log_entries_for_slow_followers=10**7)}, InvalidArgumentError, "slow followers"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(fields: dict[str, Any], kind: type[CoveyError], words: str) -> None:
    with pytest.raises(kind, match=words):
        check_cluster_spec(ClusterSpec(**fields))


@pytest.mark.parametrize(
    ("pools", "size", "words"),
    [
        (("ten",), 24, "'ten' is not an address range"),
        (("fd00::/16",), 64, "IPv6"),
        (("10.0.0.0/8", "10.9.0.0/16"), 24, "10.0.0.0/8 and 10.9.0.0/16 overlap"),
        (("10.20.0.0/16",), 15, "subnet size 15 does not fit .* from 16 to 29"),
        (("10.20.0.0/16",), 30, "subnet size 30"),
        (("10.20.0.0/30",), 30, "10.20.0.0/30 is too small"),
    ],
)
def test_address_pools_that_cannot_hold_a_network_are_refused_by_name(
    pools: tuple[str, ...], size: int, words: str
) -> None:
    with pytest.raises(CoveyError, match=words):
        check_address_pools(pools, size)


def test_a_pool_may_be_as_large_as_one_network() -> None:
    check_address_pools(("10.20.0.0/24", "10.30.0.0/29"), 29)
    check_address_pools(("10.20.0.0/24",), 24)
