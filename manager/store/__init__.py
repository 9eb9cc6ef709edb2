"""The object store of a manager: immutable views, optimistic transactions and watches without gaps, above a consensus.

Reads are O(1) snapshots. Every change goes through the log first. See ``docs/design/store.md``.
"""

from manager.store.commit import Action, Change, Commit
from manager.store.consensus import Consensus, Leadership, Member, NotLeaderError, OutcomeUnknownError, StateMachine
from manager.store.memory_consensus import MemoryConsensus
from manager.store.store import MAX_BYTES, Operation, Refusal, Store
from manager.store.table import NodeTable, ServiceTable, Table, TaskTable
from manager.store.view import MAX_CHANGES, Tx, View
from manager.store.watch import Watch

__all__ = [
    "MAX_BYTES",
    "MAX_CHANGES",
    "Action",
    "Change",
    "Commit",
    "Consensus",
    "Leadership",
    "Member",
    "MemoryConsensus",
    "NodeTable",
    "NotLeaderError",
    "Operation",
    "OutcomeUnknownError",
    "Refusal",
    "ServiceTable",
    "StateMachine",
    "Store",
    "Table",
    "TaskTable",
    "Tx",
    "View",
    "Watch",
]
