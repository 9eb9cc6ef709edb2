"""Majority quorums, single and joint (thesis, section 4.3): a joint decision needs both configurations.

Invariant: an empty configuration agrees to everything, so a joint one with an empty half behaves like the other half.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence

NO_LIMIT = (1 << 64) - 1
"""The index to which an empty configuration agrees."""


class VoteResult(enum.Enum):
    PENDING = 0
    LOST = 1
    WON = 2


def agreed_index(voters: Sequence[int], acked: Callable[[int], int]) -> int:
    """The highest index that a majority acknowledged."""
    if not voters:
        return NO_LIMIT
    indexes = sorted(map(acked, voters))
    return indexes[(len(indexes) - 1) // 2]


def joint_agreed_index(incoming: Sequence[int], outgoing: Sequence[int], acked: Callable[[int], int]) -> int:
    """The highest index that majorities of both configurations acknowledged."""
    index = agreed_index(incoming, acked)
    return min(index, agreed_index(outgoing, acked)) if outgoing else index


def tally(voters: Sequence[int], votes: Mapping[int, bool]) -> VoteResult:
    """Won by a majority of granted votes; lost when a majority is no longer possible."""
    if not voters:
        return VoteResult.WON
    majority = len(voters) // 2 + 1
    yes = sum(1 for voter in voters if votes.get(voter) is True)
    missing = sum(1 for voter in voters if voter not in votes)
    if yes >= majority:
        return VoteResult.WON
    return VoteResult.PENDING if yes + missing >= majority else VoteResult.LOST


def joint_tally(incoming: Sequence[int], outgoing: Sequence[int], votes: Mapping[int, bool]) -> VoteResult:
    """Won if won in both configurations, lost if lost in either."""
    results = (tally(incoming, votes), tally(outgoing, votes))
    if VoteResult.LOST in results:
        return VoteResult.LOST
    return VoteResult.WON if results == (VoteResult.WON, VoteResult.WON) else VoteResult.PENDING
