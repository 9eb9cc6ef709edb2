"""Makes, alters and deletes the devices of the calling thread's namespace.

A veth pair is made from the end that names its peer. The other end, if it is missing, is an orphan: only its maker can make it again.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from agent.network.kernel import link_messages
from agent.network.kernel.elsewhere import device_index, visit
from agent.network.kernel.link_options import IMMUTABLE_KINDS
from agent.network.kernel.netlink import NetlinkSocket
from agent.network.kernel.outcome import Outcome
from agent.network.kernel.refusal import place, refusal
from agent.network.kernel.target import Target
from agent.network.namespace_state import Link
from agent.network.netns import Namespace
from agent.network.plan.diff import Difference, link_changes
from agent.network.plan.items import Item, Value
from agent.network.plan.ownership import alias_of, may_remove
from covey.errors import ConflictError, CoveyError, UnavailableError

_GONE = {errno.ENODEV, errno.ENOENT}
_DELETION_GROUP = 0xC0E8  # a device group that nobody else uses
_LOSES_ENTRIES = {"up", "mac", "master"}


class LinkChanges:
    """The devices of one pass. `outcome` collects what was done and what was refused."""

    def __init__(self, target: Target, netlink: NetlinkSocket, aliases: Mapping[str, str], outcome: Outcome) -> None:
        self._target = target
        self._netlink = netlink
        self._aliases = dict(aliases)
        self._outcome = outcome

    def delete(self, differences: Iterable[Difference]) -> None:
        """Delete devices that nobody wants. On the host, devices that Covey did not make stay.

        Several are deleted as a group, because the kernel waits once per deletion. Those that are left are deleted one by one.
        """
        gone = [
            one
            for one in differences
            if isinstance(one.found, Link) and one.found.kind and self._may_remove(one.item[1])
        ]
        indexes = [index for one in gone if (index := device_index(one.item[1]))]
        if len(indexes) > 1:
            grouped = [link_messages.group_link(index, _DELETION_GROUP) for index in indexes]
            self._netlink.send([*grouped, link_messages.delete_group(_DELETION_GROUP)])
        for one in gone:
            self._delete(one)

    def make(self, differences: Sequence[Difference]) -> None:
        """Make the missing devices, and again those that cannot be altered. They are still down, and without a master."""
        for one in _in_order(differences):
            try:
                self._make_or_remake(one)
            except CoveyError as error:
                self._outcome.failures[one.item] = error

    def set(self, differences: Sequence[Difference]) -> None:
        """Set master, port options, addresses, MTU and flags of the new and altered devices."""
        requests: list[bytes] = []
        sources: list[Difference] = []
        for one in _in_order(differences):
            if one.item in self._outcome.failures or not isinstance(one.wanted, Link):
                continue
            for request in self._settings(one, one.wanted):
                requests.append(request)
                sources.append(one)
        for index, (number, words) in self._netlink.send(requests).items():
            one = sources[index]
            self._fail(one.item, one.wanted, number, words)

    def _settings(self, one: Difference, wanted: Link) -> list[bytes]:
        name = one.item[1]
        index = device_index(name)
        new = name in self._outcome.made
        found = Link(kind=wanted.kind, mac=wanted.mac.lower(), mtu=wanted.mtu, up=False, options=wanted.options)
        if wanted.kind == "bridge" or (wanted.kind == "veth" and wanted.peer is None):
            found = msgspec.structs.replace(found, mac="", mtu=0)
        if not new and isinstance(one.found, Link):
            found = one.found
        changes = link_changes(wanted, found)
        if not index or not (changes or new):
            return []
        if changes & _LOSES_ENTRIES and not new:
            self._outcome.lost_entries = True
        requests: list[bytes] = []
        master = device_index(wanted.master) if wanted.master else 0
        if wanted.master and not master:
            self._fail(one.item, wanted, errno.ENODEV, f"its bridge {wanted.master} does not exist")
            return []
        alias = alias_of(self._target.prefix) if new else ""
        first = changes - {"up", "port_options"}
        if not wanted.up or (not new and "mac" in changes and not found.up):
            first |= changes & {"up"}
        if first or alias:
            requests.append(link_messages.change_link(index, wanted, first, master=master, alias=alias))
        if wanted.port_options and changes & {"port_options", "master"}:
            requests.append(link_messages.change_port(index, wanted))
        if "up" in changes - first:
            requests.append(link_messages.change_link(index, wanted, {"up"}))
        return requests

    def _make_or_remake(self, one: Difference) -> None:
        wanted, name = one.wanted, one.item[1]
        if not isinstance(wanted, Link):
            return
        if isinstance(one.found, Link):
            changes = link_changes(wanted, one.found)
            again = changes & {"kind", "parent"} or ("options" in changes and wanted.kind in IMMUTABLE_KINDS)
            if not again:
                return
            if not self._may_remove(name):
                raise ConflictError(
                    f"the device {name} exists {place(self._target.key)} and was not made by Covey: "
                    f"remove it (ip link delete {name}) or choose another name"
                )
            self._delete(one)
            self._outcome.lost_entries = True
        if not wanted.kind:
            raise UnavailableError(f"there is no device {name} {place(self._target.key)}")
        if wanted.kind == "veth" and wanted.peer is None:
            if device_index(name):  # its maker was quicker than this pass
                self._outcome.made.add(name)
                return
            self._outcome.orphans.add(name)
            raise UnavailableError(f"the other end of the veth pair {name} {place(self._target.key)} is not made yet")
        self._make(one.item, wanted)

    def _make(self, item: Item, wanted: Link) -> None:
        peer = self._namespace(wanted.peer.namespace) if wanted.peer is not None else None
        peer_descriptor = peer.fd if peer is not None and peer is not self._target.namespace else -1

        def request(into: int) -> tuple[int, str] | None:
            parent = device_index(wanted.parent) if wanted.parent else 0
            if wanted.parent and not parent:
                return errno.ENODEV, f"its parent {wanted.parent} does not exist"
            made = link_messages.create_link(item[1], wanted, parent=parent, into=into, peer_namespace=peer_descriptor)
            if into < 0:
                return self._netlink.send([made]).get(0)
            with NetlinkSocket() as netlink:
                return netlink.send([made]).get(0)

        if wanted.made_in and wanted.made_in != self._target.key:
            home = self._namespace(wanted.made_in)
            failure = visit(self._target, home, lambda: request(self._target.namespace.fd))
        else:
            failure = request(-1)
        if failure is not None:
            raise refusal(self._target.key, item, wanted, *failure)
        self._outcome.made.add(item[1])
        self._aliases[item[1]] = alias_of(self._target.prefix)
        if wanted.peer is not None:
            self._outcome.made_elsewhere.add((wanted.peer.namespace, wanted.peer.name))

    def _namespace(self, key: str) -> Namespace:
        if key == self._target.key:
            return self._target.namespace
        other = self._target.other(key)
        if other is None:
            raise UnavailableError(f"the network namespace {place(key)} is not open")
        return other

    def _delete(self, one: Difference) -> None:
        name = one.item[1]
        index = device_index(name)
        failure = self._netlink.send([link_messages.delete_link(index)]).get(0) if index else None
        if failure is not None and failure[0] not in _GONE:
            self._fail(one.item, one.found, *failure)
            return
        self._aliases.pop(name, None)
        self._outcome.deleted.add(name)

    def _may_remove(self, name: str) -> bool:
        return may_remove(self._target.key, self._target.prefix, self._aliases, name)

    def _fail(self, item: Item, value: Value | None, number: int, words: str = "") -> None:
        self._outcome.failures.setdefault(item, refusal(self._target.key, item, value, number, words))


def _in_order(differences: Sequence[Difference]) -> list[Difference]:
    """Devices after those that they stand on: their parent, their master."""
    by_name = {one.item[1]: one for one in differences}
    ordered: dict[str, Difference] = {}

    def add(name: str, depth: int) -> None:
        one = by_name.get(name)
        if one is None or name in ordered or depth > len(by_name):
            return
        if isinstance(one.wanted, Link):
            for below in (one.wanted.parent, one.wanted.master):
                if below and below != name:
                    add(below, depth + 1)
        ordered[name] = one

    for name in sorted(by_name):
        add(name, 0)
    return list(ordered.values())
