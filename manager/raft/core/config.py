"""Configuration of one Raft node: timeouts in ticks, and a bound for everything that grows."""

from __future__ import annotations

from typing import Protocol

import msgspec

_MIB = 1 << 20


class Randint(Protocol):
    """Source of randomness for election timeouts; `random.Random(seed)` fits."""

    def randint(self, a: int, b: int, /) -> int:
        """A whole number between a and b, both included."""
        ...


class RaftConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Times are in ticks; the driver decides how long a tick is.

    `applied` is the last index that the state machine holds at start; 0 means that of the storage's snapshot. The storage's
    ConfState must be the configuration as of that index.
    """

    id: int
    random: Randint
    election_tick: int = 10
    heartbeat_tick: int = 1
    max_bytes_per_message: int = _MIB
    max_bytes_per_apply: int = 16 * _MIB
    max_inflight_messages: int = 64
    max_inflight_bytes: int = 8 * _MIB
    max_uncommitted_bytes: int = 64 * _MIB
    max_pending_reads: int = 4096
    pre_vote: bool = True
    check_quorum: bool = True
    applied: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.id < 1 << 64:
            raise ValueError(f"raft id {self.id} must be between 1 and 2**64-1")
        if not 0 < self.heartbeat_tick < self.election_tick:
            raise ValueError(f"election_tick {self.election_tick} must exceed heartbeat_tick {self.heartbeat_tick} > 0")
        bounds = (
            self.max_inflight_messages,
            self.max_inflight_bytes,
            self.max_bytes_per_apply,
            self.max_uncommitted_bytes,
            self.max_pending_reads,
        )
        if min(*bounds, self.max_bytes_per_message) <= 0:
            raise ValueError(f"every bound of raft node {self.id} must be positive")
