"""Outgoing queue of a peer link: an append supersedes a waiting message that carries only a commit index."""

from manager.raft.core import Entry, EntryKind, Message, MessageKind, Snapshot
from manager.raft.peer import PeerLink
from manager.store.consensus import Member

ENTRY = Entry(index=8, term=2, kind=EntryKind.NORMAL, data=b"write")


class Listener:
    def __init__(self) -> None:
        self.lost: list[int] = []

    def report_unreachable(self, peer: int) -> None:
        self.lost.append(peer)

    def report_snapshot(self, peer: int, *, ok: bool) -> None: ...

    def report_removed(self) -> None: ...


async def _no_snapshot(_index: int) -> Snapshot:
    raise AssertionError


def link() -> PeerLink:
    peer = Member(raft_id=2, node_id="b", addr="b:1")
    return PeerLink(peer, "cluster", lambda: None, Listener(), _no_snapshot, sender=(1, "a:1"))


def append(*, index: int = 7, term: int = 2, commit: int = 7, entries: tuple[Entry, ...] = ()) -> Message:
    return Message(MessageKind.APPEND, 2, 1, term, log_term=2, index=index, commit=commit, entries=entries)


def kinds(link: PeerLink) -> list[tuple[int, int, int]]:
    return [(message.kind, message.commit, len(message.entries)) for message in link._take_batch().messages]


async def test_a_commit_index_alone_travels_with_the_append_that_follows_it():
    peer = link()
    peer.send(append(commit=7))
    peer.send(append(commit=7, entries=(ENTRY,)))
    assert kinds(peer) == [(MessageKind.APPEND, 7, 1)]
    assert peer._queue_bytes == 0


async def test_a_commit_index_is_not_superseded_by_an_append_at_another_index_or_term():
    for other in (append(index=6, entries=(ENTRY,)), append(term=3, entries=(ENTRY,)), append(commit=6)):
        peer = link()
        peer.send(append(commit=7))
        peer.send(other)
        assert len(kinds(peer)) == 2


async def test_entries_are_never_superseded():
    peer = link()
    peer.send(append(entries=(ENTRY,)))
    peer.send(append(commit=8, entries=(ENTRY,)))
    assert len(kinds(peer)) == 2


async def test_only_an_append_without_entries_is_delayed():
    peer = link()
    peer.send(append())
    assert not peer._urgent.is_set()
    peer.send(Message(MessageKind.HEARTBEAT, 2, 1, 2))
    assert peer._urgent.is_set()
    peer._take_batch()
    assert not peer._urgent.is_set()


async def test_an_announcement_is_a_batch_that_names_the_sender_only():
    peer = link()
    peer.announce()
    assert peer._urgent.is_set()
    batch = peer._take_batch()
    assert (batch.sender, batch.addr, len(batch.messages)) == (1, "a:1", 0)
    assert not peer._is_announcing
