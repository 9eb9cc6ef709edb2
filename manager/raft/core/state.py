"""State of one Raft node and its role transitions; the modules named after a behaviour implement it.

Invariant: a term never decreases. A node votes at most once per term. Outgoing messages are split by whether they
may leave before the node's own write is durable (see `send_after_sync`).
Used inside this package only; `RawNode` is the entry point from outside.
"""

from __future__ import annotations

from manager.raft.core.config import RaftConfig
from manager.raft.core.errors import DataLossError
from manager.raft.core.log import RaftLog
from manager.raft.core.progress import InflightLimits, Progress
from manager.raft.core.read_queue import ReadQueue
from manager.raft.core.storage import Storage
from manager.raft.core.tracker import ProgressTracker
from manager.raft.core.types import (
    NO_PEER,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    ReadState,
    Role,
    SoftState,
)


class RaftState:
    """Everything a node knows. Changed by this package only."""

    __slots__ = (
        "after_sync",
        "append_pending",
        "config",
        "election_elapsed",
        "heartbeat_elapsed",
        "id",
        "leader",
        "leader_suspected",
        "log",
        "messages",
        "pending_conf_index",
        "randomized_election_timeout",
        "read_states",
        "reads",
        "role",
        "term",
        "tracker",
        "transferee",
        "uncommitted_bytes",
        "vote",
        "votes",
    )

    def __init__(self, config: RaftConfig, storage: Storage) -> None:
        hard, conf = storage.initial_state()
        if hard.commit > storage.last_index():
            raise DataLossError(hard.commit, storage.last_index())
        self.config = config
        self.id = config.id
        self.log = RaftLog(storage, committed=hard.commit, applied=config.applied)
        self.tracker = ProgressTracker(
            conf, window=InflightLimits(config.max_inflight_messages, config.max_inflight_bytes)
        )
        # A torn write may leave entries of a term whose hard state was lost. The node promised nothing in that term.
        self.term = max(hard.term, self.log.last_term())
        self.vote = hard.vote if self.term == hard.term else NO_PEER
        self.role = Role.FOLLOWER
        self.leader = NO_PEER
        self.votes: dict[int, bool] = {}
        self.transferee = NO_PEER
        self.pending_conf_index = 0
        self.uncommitted_bytes = 0
        self.append_pending = False
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.leader_suspected = False
        self.randomized_election_timeout = 0
        self.reads = ReadQueue(limit=config.max_pending_reads)
        self.read_states: list[ReadState] = []
        self.messages: list[Message] = []
        self.after_sync: list[Message] = []
        self.become_follower(self.term, NO_PEER)

    @property
    def hard_state(self) -> HardState:
        """`commit` covers the entries that are written in the same unit. So a disk that holds a configuration change also knows that
        the previous change is committed; otherwise a restart could elect by a configuration two changes old.
        """
        return HardState(self.term, self.vote, self.log.committed)

    @property
    def soft_state(self) -> SoftState:
        return SoftState(self.leader, self.role)

    @property
    def promotable(self) -> bool:
        """Whether this node may campaign: it is a voter and no snapshot is about to replace its log."""
        progress = self.tracker.progress.get(self.id)
        return progress is not None and not progress.is_learner and self.log.snapshot is None

    @property
    def own_progress(self) -> Progress | None:
        return self.tracker.progress.get(self.id)

    def send(self, message: Message) -> None:
        """Queues a message that may leave while this node's own write is in progress."""
        self.messages.append(message)

    def send_after_sync(self, message: Message) -> None:
        """Queues a message that depends on this node's disk: votes, vote requests, acknowledgements.

        A message to this node itself is stepped when the write is finished.
        """
        self.after_sync.append(message)

    def become_follower(self, term: int, leader: int) -> None:
        self._reset(term)
        self.role = Role.FOLLOWER
        self.leader = leader

    def become_pre_candidate(self) -> None:
        """Asks whether an election could be won; neither term nor vote changes (thesis, section 9.6)."""
        self.role = Role.PRE_CANDIDATE
        self.leader = NO_PEER
        self.votes = {}
        self.restart_timeout(again=True)

    def become_candidate(self) -> None:
        self._reset(self.term + 1)
        self.restart_timeout(again=True)
        self.role = Role.CANDIDATE
        self.vote = self.id

    def become_leader(self) -> None:
        """Starts with an empty entry of its term; committing it commits all entries before it (section 3.6.2)."""
        self._reset(self.term)
        self.role = Role.LEADER
        self.leader = self.id
        if self.own_progress:
            self.own_progress.become_replicate()
            self.own_progress.maybe_update(self.log.stable_index)
        # The log may hold an uncommitted configuration change. No other one is proposed before it is applied.
        self.pending_conf_index = self.log.last_index()
        self.append_own([(EntryKind.NORMAL, b"")])

    def append_own(self, proposals: list[tuple[EntryKind, bytes]]) -> None:
        """Appends entries of this leader's term; they count toward commit once they are stable."""
        index = self.log.last_index()
        self.log.append(
            [Entry(self.term, index + number, kind, data) for number, (kind, data) in enumerate(proposals, start=1)],
        )
        self.uncommitted_bytes += sum(len(data) for _, data in proposals)
        self.append_pending = True

    def release_uncommitted(self, applied: list[Entry]) -> None:
        """Applied entries no longer count against the limit. Those of former leaders never did, hence the floor of 0."""
        if self.uncommitted_bytes:
            self.uncommitted_bytes = max(0, self.uncommitted_bytes - sum(len(entry.data) for entry in applied))

    def _reset(self, term: int) -> None:
        if term != self.term:
            self.term = term
            self.vote = NO_PEER
            # The acknowledged entries are not durable yet, and the new term's leader may replace them before they are.
            self.after_sync = [m for m in self.after_sync if m.reject or m.kind is not MessageKind.APPEND_REPLY]
        self.leader = NO_PEER
        self.votes = {}
        self.transferee = NO_PEER
        self.pending_conf_index = 0
        self.uncommitted_bytes = 0
        self.append_pending = False
        self.reads.clear()
        self.heartbeat_elapsed = 0
        self.restart_timeout()
        self.tracker.reset(next_index=self.log.last_index() + 1)

    def restart_timeout(self, *, again: bool = False) -> None:
        """Draws the next election timeout. ``again`` is for a node whose election failed or is repeated.

        Then there is no leader, and a shorter timeout suffices to separate candidates that started together. Without pre-vote
        the full timeout is kept, because a node that cannot win would end the terms of those that can.
        """
        self.election_elapsed = 0
        self.leader_suspected = False
        base = self.config.election_tick
        least, most = (base // 2, base) if again and self.config.pre_vote else (base, 2 * base - 1)
        self.randomized_election_timeout = self.config.random.randint(max(least, 1), most)
