"""Fault rates of a simulated run: each hazard with its rate, drawn from the seed.

Called by `raft_simulation`. Intervals are mean times, in simulated units, between two such events; 0 means never.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any

TICK = 10
"""Simulated time units per tick."""

HAZARDS = (
    "drop",
    "duplicate",
    "crash",
    "stall",
    "partition",
    "change",
    "transfer",
    "compact",
    "read",
    "hold",
    "double_change",
)
"""Hazards that can be left out, to find out whether a failure needs them."""


@dataclasses.dataclass(frozen=True)
class FaultRates:
    """Rates of faults, and settings of the nodes: `message_bytes`, `apply_bytes`, `window`, `pre_vote`, `check_quorum`,
    `election_tick` and `segment_frames`. `sync` is the duration of a disk step, `apply` that of applying entries.
    """

    drop: float
    duplicate: float
    delay: int
    sync: int
    propose: int
    crash: int
    down: int
    partition: int
    change: int
    transfer: int
    compact: int
    read: int
    message_bytes: int
    window: int
    pre_vote: bool
    check_quorum: bool
    election_tick: int = 10
    stall: int = 0
    segment_frames: int = 20
    hold: int = 0
    double_change: int = 0
    apply: int = 0
    apply_bytes: int = 1 << 20

    @classmethod
    def random(cls, rng: random.Random) -> FaultRates:
        """Draws rates between mild and harsh."""
        return cls.harsh(rng) if rng.random() < 0.25 else cls.mixed(rng)

    @classmethod
    def harsh(cls, rng: random.Random) -> FaultRates:
        """Frequent changes of leaders without pre-vote or quorum checks: finds faults in votes and old terms."""
        return cls(
            drop=rng.choice((0.05, 0.15)),
            duplicate=0.1,
            delay=rng.choice((20, 50)),
            sync=rng.choice((5, 20)),
            propose=rng.choice((10, 30)),
            crash=rng.choice((40, 100)),
            down=rng.choice((10, 60)),
            partition=rng.choice((100, 200)),
            change=rng.choice((0, 0, 200)),
            transfer=rng.choice((0, 200)),
            compact=rng.choice((0, 20, 100)),
            read=20,
            message_bytes=rng.choice((1, 300)),
            window=rng.choice((1, 4)),
            pre_vote=False,
            check_quorum=False,
            election_tick=3,
            stall=rng.choice((0, 200)),
            segment_frames=rng.choice((3, 20)),
            hold=rng.choice((0, 0, 100)),
            double_change=rng.choice((0, 0, 200)),
            apply=rng.choice((0, 0, 10)),
            apply_bytes=rng.choice((1, 1 << 20)),
        )

    @classmethod
    def mixed(cls, rng: random.Random) -> FaultRates:
        """Draws each hazard on its own. A wide window is excluded in a slow network with reordering, where it would only resend."""
        delay = rng.choice((2, 8, 20, 40, 80))
        return cls(
            drop=rng.choice((0.0, 0.02, 0.1, 0.2)),
            duplicate=rng.choice((0.0, 0.05, 0.2)),
            delay=delay,
            sync=rng.choice((1, 5, 30)),
            propose=rng.choice((3, 6, 15)),
            crash=rng.choice((0, 150, 300, 900)),
            down=rng.choice((50, 400)),
            partition=rng.choice((0, 250, 700)),
            change=rng.choice((0, 60, 150, 400)),
            transfer=rng.choice((0, 500)),
            compact=rng.choice((0, 15, 60, 300)),
            read=rng.choice((0, 8, 30)),
            message_bytes=rng.choice((1, 300, 1 << 20)),
            window=rng.choice((1, 4, 64 if delay < 40 else 8)),
            pre_vote=rng.random() < 0.7,
            check_quorum=rng.random() < 0.7,
            stall=rng.choice((0, 400)),
            segment_frames=rng.choice((3, 20, 200)),
            hold=rng.choice((0, 0, 100, 400)),
            double_change=rng.choice((0, 0, 60, 200)),
            apply=rng.choice((0, 0, 5, 20)),
            apply_bytes=rng.choice((1, 300, 1 << 20)),
        )

    def without(self, hazards: tuple[str, ...]) -> FaultRates:
        """The same rates without these hazards."""
        faults_ended: dict[str, Any] = dict.fromkeys(hazards, 0)
        return dataclasses.replace(self, **faults_ended)

    def no_faults(self) -> FaultRates:
        """The rates after the faults end: a fast network that loses nothing."""
        return dataclasses.replace(self, drop=0.0, duplicate=0.0, delay=3, sync=2, apply=0)
