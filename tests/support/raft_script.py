"""Interpreter of Raft scripts: commands after `> `, below each the output of the real core.

`ready` takes a node's Ready and sends the messages that may be sent at once. `sync` completes it: the write is durable, the
other messages are sent, committed entries are applied. `process` does both. Messages stay on the wire until `deliver` or
`drop`. `settle` runs all nodes until nothing is left to do. Nodes that are `cut` off lose all messages to and from them.
`restart` after `crash` finds what was flushed. A commit index that increased without an entry to write is lost, as in
`manager.raft.disk`.
"""

from __future__ import annotations

from typing import Any

from manager.raft.core import (
    ChangeKind,
    ConfChange,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    MemoryStorage,
    Message,
    MessageKind,
    RaftConfig,
    RaftError,
    RawNode,
    Ready,
    SingleChange,
    Snapshot,
    Transition,
    bootstrap_snapshot,
)

CHANGES = {"add-voter": ChangeKind.ADD_VOTER, "add-learner": ChangeKind.ADD_LEARNER, "remove": ChangeKind.REMOVE}
TRANSITIONS = {"joint": Transition.JOINT_IMPLICIT, "joint-explicit": Transition.JOINT_EXPLICIT}
SETTLE_ROUNDS = 200


class FixedTimeouts:
    """Election timeout of node n: the minimum plus n - 1 ticks, so that scripts are deterministic."""

    def __init__(self, node: int) -> None:
        self._node = node

    def randint(self, a: int, b: int, /) -> int:
        return min(a + self._node - 1, b)


class Script:
    """The nodes, the network between them, and the output of the current command."""

    def __init__(self) -> None:
        self.nodes: dict[int, RawNode] = {}
        self.disks: dict[int, MemoryStorage] = {}
        self.flushed: dict[int, HardState] = {}
        self.pending: dict[int, Ready] = {}
        self.wire: list[Message] = []
        self.held: list[Message] = []
        self.cut_off: set[int] = set()
        self.conf: dict[int, ConfState] = {}
        self.options: dict[str, Any] = {}
        self.out: list[str] = []

    def run(self, command: str) -> list[str]:
        self.out = []
        name, *words = command.split()
        try:
            getattr(self, "do_" + name.replace("-", "_"))(*words)
        except RaftError as error:
            self.say(f"{type(error).__name__}: {error}")
        return self.out or ["ok"]

    def say(self, line: str) -> None:
        self.out.append(line)

    # --- hosts

    def do_cluster(self, size: str, *options: str) -> None:
        for option in options:
            key, value = option.split("=")
            self.options[key.replace("-", "_")] = value == "on" if value in {"on", "off"} else int(value)
        founders = range(1, int(size) + 1)
        for node in founders:
            self.disks[node] = MemoryStorage()
            self.disks[node].apply_snapshot(bootstrap_snapshot(founders))
            self._start(node)

    def do_node(self, *nodes: str) -> None:
        for node in map(int, nodes):
            self.disks[node] = MemoryStorage()
            self._start(node)

    def _start(self, node: int) -> None:
        disk = self.disks[node]
        flushed = self.flushed.setdefault(node, HardState())
        disk.set_hard_state(HardState(flushed.term, flushed.vote, max(flushed.commit, disk.snapshot_index)))
        applied = disk.snapshot().metadata.index if disk.first_index() > 1 else 0
        self.conf[node] = disk.initial_state()[1]
        self.nodes[node] = RawNode(
            RaftConfig(id=node, random=FixedTimeouts(node), applied=applied, **self.options), disk
        )

    def do_crash(self, node: str) -> None:
        del self.nodes[int(node)]
        if self.pending.pop(int(node), None):
            self.say(f"{node}: the write under way is lost")

    def do_restart(self, node: str) -> None:
        self._start(int(node))
        self._status(int(node))

    # --- inputs of users and clocks

    def do_campaign(self, node: str) -> None:
        self.nodes[int(node)].campaign()

    def do_tick(self, node: str, count: str = "1") -> None:
        for _ in range(int(count)):
            self.nodes[int(node)].tick()

    def do_propose(self, node: str, *data: str) -> None:
        for one in data:
            self.nodes[int(node)].propose(one.encode())

    def do_change(self, node: str, *words: str) -> None:
        transition = TRANSITIONS.get(words[-1], Transition.AUTO) if words else Transition.AUTO
        words = words[:-1] if words and words[-1] in TRANSITIONS else words
        pairs = zip(words[::2], words[1::2], strict=True)
        changes = tuple(SingleChange(CHANGES[kind], int(target)) for kind, target in pairs)
        self.nodes[int(node)].propose_conf_change(ConfChange(changes, transition=transition))

    def do_transfer(self, node: str, to: str) -> None:
        self.nodes[int(node)].transfer_leader(int(to))

    def do_read(self, node: str, context: str) -> None:
        self.nodes[int(node)].read_index(context.encode())

    def do_compact(self, node: str, index: str) -> None:
        disk = self.disks[int(node)]
        disk.create_snapshot(int(index), self.conf[int(node)], b"state")
        disk.compact(int(index))
        self.say(f"{node}: log begins at {disk.first_index()}")

    def do_unreachable(self, node: str, peer: str) -> None:
        self.nodes[int(node)].report_unreachable(int(peer))

    def do_step_down(self, node: str) -> None:
        self.nodes[int(node)].step_down()

    def do_report_snapshot(self, node: str, peer: str, ok: str) -> None:
        self.nodes[int(node)].report_snapshot(int(peer), ok == "ok")

    # --- the driver

    def do_ready(self, *nodes: str) -> None:
        for node in map(int, nodes):
            if self.nodes[node].has_ready():
                ready = self.pending[node] = self.nodes[node].ready()
                self._show_ready(node, ready)
                self._send(ready.messages)
            else:
                self.say(f"{node}: nothing")

    def do_sync(self, *nodes: str) -> None:
        for node in map(int, nodes):
            ready, disk = self.pending.pop(node), self.disks[node]
            if ready.snapshot:
                disk.apply_snapshot(ready.snapshot)
                self.conf[node] = ready.snapshot.metadata.conf_state
            disk.append(ready.entries)
            if ready.hard_state:
                disk.set_hard_state(ready.hard_state)
            if ready.must_sync:
                self.flushed[node] = disk.initial_state()[0]
            for message in ready.messages_after_sync:
                self.say(f"{node}: sends {show(message)}")
            self._send(ready.messages_after_sync)
            for entry in ready.committed:
                self._apply(node, entry)
            for read in ready.read_states:
                self.say(f"{node}: may read {read.context.decode()} at {read.index}")
            self.nodes[node].advance(ready)

    def do_process(self, *nodes: str) -> None:
        for node in nodes:
            self.do_ready(node)
            if int(node) in self.pending:
                self.do_sync(node)

    def _apply(self, node: int, entry: Entry) -> None:
        self.say(f"{node}: applies {show_entry(entry)}")
        if entry.kind is EntryKind.CONF_CHANGE:
            self.conf[node] = self.nodes[node].apply_conf_change(ConfChange.decode(entry.data))
            self.say(f"{node}: members are now {show_conf(self.conf[node])}")

    def _show_ready(self, node: int, ready: Ready) -> None:
        if ready.soft_state:
            leader = ready.soft_state.leader or "unknown"
            self.say(f"{node}: is {ready.soft_state.role.name.lower()}, leader {leader}")
        for message in ready.messages:
            self.say(f"{node}: sends at once {show(message)}")
        if ready.snapshot:
            self.say(f"{node}: writes {show_snapshot(ready.snapshot)}")
        if ready.entries:
            self.say(f"{node}: writes {' '.join(map(show_entry, ready.entries))}")
        if ready.hard_state:
            hard = ready.hard_state
            self.say(f"{node}: writes term {hard.term}, vote {hard.vote or 'none'}, commit {hard.commit}")

    # --- the wire

    def do_hold(self, *words: str) -> None:
        """Delay messages until `release` puts them back."""
        self.held += self._pick(words)

    def do_release(self) -> None:
        self.wire += self.held
        self.held = []

    def _send(self, messages: list[Message]) -> None:
        self.wire.extend(m for m in messages if not {m.from_, m.to} & self.cut_off)

    def _pick(self, words: tuple[str, ...]) -> list[Message]:
        """Selects messages by `1->2`, `->2`, `1->`, a kind in capitals, or a combination; without words, all."""
        picked = self.wire
        for word in words:
            if "->" in word:
                sender, _, receiver = word.partition("->")
                picked = [m for m in picked if sender in {"", str(m.from_)} and receiver in {"", str(m.to)}]
            else:
                picked = [m for m in picked if m.kind is MessageKind[word]]
        self.wire = [m for m in self.wire if all(m is not other for other in picked)]
        return picked

    def do_deliver(self, *words: str) -> None:
        for message in self._pick(words):
            if message.to in self.nodes:
                self.say(f"{show(message)}")
                self.nodes[message.to].step(message)

    def do_drop(self, *words: str) -> None:
        for message in self._pick(words):
            self.say(f"lost: {show(message)}")

    def do_cut(self, *nodes: str) -> None:
        self.cut_off.update(map(int, nodes))
        self.wire = [m for m in self.wire if not {m.from_, m.to} & self.cut_off]

    def do_heal(self) -> None:
        self.cut_off.clear()

    def do_settle(self, quiet: str = "") -> None:
        for _ in range(SETTLE_ROUNDS):
            busy = [str(n) for n, node in self.nodes.items() if n in self.pending or node.has_ready()]
            if not busy and not self.wire:
                break
            for node in busy:
                (self.do_sync if int(node) in self.pending else self.do_process)(node)
            self.do_deliver()
        else:
            self.say("never settles")
        if quiet:
            self.out = []

    # --- output

    def do_status(self, *nodes: str) -> None:
        for node in map(int, nodes or map(str, self.nodes)):
            self._status(node)

    def _status(self, node: int) -> None:
        status = self.nodes[node].status()
        self.say(
            f"{node}: {status.role.name.lower()} in term {status.term}, leader {status.leader or 'unknown'}, "
            f"log {status.first_index}-{status.last_index}, commit {status.commit}, applied {status.applied}",
        )

    def do_progress(self, node: str) -> None:
        for peer, progress in self.nodes[int(node)].status().peers.items():
            learner = ", learner" if progress.is_learner else ""
            self.say(f"{node} of {peer}: {progress.state.value}, match {progress.match}, next {progress.next}{learner}")

    def do_window(self, node: str) -> None:
        for peer, progress in self.nodes[int(node)].status().peers.items():
            if peer != int(node):
                self.say(f"{node} to {peer}: {progress.inflight} in flight, {progress.inflight_bytes} bytes")

    def do_members(self, *nodes: str) -> None:
        for node in map(int, nodes or map(str, self.nodes)):
            self.say(f"{node}: {show_conf(self.nodes[node].status().conf_state)}")

    def do_log(self, node: str) -> None:
        disk = self.disks[int(node)]
        entries = disk.entries(disk.first_index(), disk.last_index() + 1, 1 << 30) if disk.last_index() else []
        self.say(f"{node}: {' '.join(map(show_entry, entries)) or 'empty'}")


def show_entry(entry: Entry) -> str:
    if entry.kind is EntryKind.CONF_CHANGE:
        change = ConfChange.decode(entry.data)
        text = " ".join(f"{c.kind.name.lower()} {c.node}" for c in change.changes) or "leave joint"
        return f"{entry.index}/t{entry.term}({text})"
    return f"{entry.index}/t{entry.term}({entry.data.decode() or 'empty'})"


def show_conf(conf: ConfState) -> str:
    parts = [f"voters {list(conf.voters)}"]
    rest = ("voters_outgoing", "learners", "learners_next")
    parts.extend(f"{name.replace('_', ' ')} {list(getattr(conf, name))}" for name in rest if getattr(conf, name))
    return ", ".join(parts)


def show_snapshot(snapshot: Snapshot) -> str:
    meta = snapshot.metadata
    return f"snapshot {meta.index}/t{meta.term} of {show_conf(meta.conf_state)}"


def show(message: Message) -> str:
    parts = [f"{message.from_}->{message.to} {message.kind.name} term {message.term}"]
    if message.kind in {MessageKind.APPEND, MessageKind.VOTE, MessageKind.PRE_VOTE}:
        parts.append(f"after {message.index}/t{message.log_term}")
    elif message.index:
        parts.append(f"at {message.index}")
    parts.extend(map(show_entry, message.entries))
    if message.commit:
        parts.append(f"commit {message.commit}")
    if message.reject:
        hint = message.kind is MessageKind.APPEND_REPLY
        parts.append(f"no, try {message.reject_hint}/t{message.hint_term}" if hint else "no")
    if message.snapshot:
        parts.append(show_snapshot(message.snapshot))
    if message.context:
        text = message.context.decode("ascii", "replace")
        parts.append(f"[{text if text.isprintable() else message.context.hex()}]")
    return " ".join(parts)


def replay(text: str) -> str:
    """The script with the current output of its commands. Comments and blank lines are kept."""
    script = Script()
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("> "):
            lines.append(line)
            lines.extend(script.run(line[2:]))
        elif line.startswith("#") or not line.strip():
            lines.append(line)
    return "\n".join(lines) + "\n"
