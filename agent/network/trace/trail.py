"""The trail of a trace: collects its hops, and ends a way at the first one that is broken. Pure."""

from __future__ import annotations

from ipaddress import ip_interface

from agent.network.namespace_state import HOST, Link, NamespaceState, NftChain
from agent.network.plan.bridge import table_name
from agent.network.trace.model import REPAIR, Endpoint, Hop, State, View
from agent.network.trace.reading import NamespaceReading
from agent.network.trace.routes import Way, find_way
from agent.network.trace.verdicts import Packet, find_drop

_SHORT_ID = 12


class PathEndsError(Exception):
    """The way ends at the hop that was recorded last."""


class Trail:
    """The hops so far. `missing` are the namespaces of hosts that the path came to and that were not read. One per trace."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.hops: list[Hop] = []
        self.missing: set[tuple[str, str]] = set()

    def at(self, host: str, key: str) -> Place:
        """A namespace of a host. The way ends if nothing is known of it."""
        known = self.view.hosts.get(host)
        if known is None or known.reading is None:
            reason = known.error if known is not None else "is not known"
            self.hops.append(
                Hop(
                    host=host,
                    namespace=key,
                    step="host",
                    read="the cluster's nodes",
                    found="no answer",
                    state=State.BROKEN,
                    reason=f"host {host} {reason or 'was not asked'}",
                    remedy=f"see that {host} runs and reaches the managers: docker node ls",
                )
            )
            raise PathEndsError
        reading = known.reading.namespaces.get(key)
        if reading is None:
            self.missing.add((host, key))
            self.hops.append(
                Hop(
                    host=host,
                    namespace=key,
                    step="namespace",
                    read=f"the namespaces of {host}",
                    found="none",
                    state=State.BROKEN,
                    reason=f"host {host} has no namespace {key}",
                    remedy=f"{REPAIR}; if that does not help, restart the container",
                )
            )
            raise PathEndsError
        return Place(self, host, key, reading)

    def owner(self, host: str, address: str) -> Endpoint | None:
        """The container on a host whose namespace has the address, according to the kernel."""
        known = self.view.hosts.get(host)
        if known is None or known.reading is None:
            return None
        for endpoint in self.view.endpoints:
            reading = known.reading.namespaces.get(f"container/{endpoint.container_id}")
            if endpoint.host == host and reading is not None and device_of(reading.state, address):
                return endpoint
        return self._unknown_owner(host, known.reading.addresses.get(address, ""))

    def _unknown_owner(self, host: str, key: str) -> Endpoint | None:
        """A container that only its host knows, by its namespace."""
        identity = key.partition("/")[2]
        if not identity:
            return None
        known = next((one for one in self.view.endpoints if one.container_id == identity), None)
        return known or Endpoint(name=identity[:_SHORT_ID], container_id=identity, host=host)


class Place:
    """A namespace on the way, by which its hops are recorded."""

    def __init__(self, trail: Trail, host: str, key: str, reading: NamespaceReading) -> None:
        self.trail, self.host, self.key, self.reading = trail, host, key, reading

    @property
    def state(self) -> NamespaceState:
        return self.reading.state

    def _add(
        self, step: str, read: str, found: str, *, state: State = State.PASSED, reason: str = "", remedy: str = ""
    ) -> None:
        self.trail.hops.append(
            Hop(
                host=self.host,
                namespace=self.key,
                step=step,
                read=read,
                found=found,
                state=state,
                reason=reason,
                remedy=remedy,
            )
        )

    def passed(self, step: str, read: str, found: str) -> None:
        self._add(step, read, found)

    def note(self, step: str, read: str, found: str, reason: str) -> None:
        self._add(step, read, found, state=State.NOTE, reason=reason)

    def broken(self, step: str, read: str, found: str, reason: str, remedy: str = REPAIR) -> PathEndsError:
        """Record the end of the way. The caller raises what this returns."""
        self._add(step, read, found, state=State.BROKEN, reason=reason, remedy=remedy)
        return PathEndsError()

    def link(self, step: str, name: str, *, master: str = "", what: str = "") -> Link:
        """A device that must be there, up and in its bridge."""
        read, link = f"device {name}", self.state.links.get(name)
        what = what or f"the device {name}"
        if link is None:
            raise self.broken(step, read, "missing", f"{what} does not exist")
        if not link.up:
            raise self.broken(step, read, "down", f"{what} is down", f"ip link set {name} up, or {REPAIR}")
        if master and link.master != master:
            found = f"in {link.master}" if link.master else "in no bridge"
            raise self.broken(step, read, found, f"{what} is not a port of {master}")
        self.passed(step, read, f"up{f', in {master}' if master else ''}")
        return link

    def route(self, step: str, address: str, *, source: str = "", mark: int = 0, device: str = "") -> Way:
        """A route that must lead to the address."""
        way = find_way(self.state, address, self.reading.connected, source=source, mark=mark, device=device)
        read = f"routes and rules to {address}"
        if way is None:
            remedy = (
                REPAIR if self.key == HOST else f"{REPAIR}, or disconnect the container from its network and connect it"
            )
            raise self.broken(step, read, "none", f"no route leads to {address}", remedy)
        if way.kind not in {"unicast", "local"}:
            remedy = f"ip route del {way.text.partition(' table')[0]}, unless it is meant"
            raise self.broken(step, read, way.text, f"the route to {address} is {way.kind}", remedy)
        link = self.state.links.get(way.device)
        if way.device and (link is None or not link.up):
            remedy = f"ip link set {way.device} up"
            state = "down" if link is not None else "missing"
            raise self.broken(step, read, way.text, f"the device {way.device} of the route is {state}", remedy)
        self.passed(step, read, way.text)
        return way

    def sysctl(self, step: str, path: str, wanted: str = "1") -> None:
        found = self.state.sysctls.get(path, "")
        if found != wanted:
            name = path.replace("/", ".")
            reason = f"{name} is {found or 'missing'}: this namespace does not forward packets"
            raise self.broken(
                step, f"sysctl {name}", found or "missing", reason, f"sysctl -w {name}={wanted}, or {REPAIR}"
            )
        self.passed(step, f"sysctl {path.replace('/', '.')}", wanted)

    def firewall(self, hook: str, packet: Packet) -> None:
        """What the rules at a hook do with the packet. Nothing is recorded if nobody has rules there but Covey, as it made them."""
        step = f"firewall {hook}"
        known = self.trail.view.hosts[self.host].reading
        bridges = table_name(known.prefix) if known else ""
        entered = [f"{bridges} to-{packet.output_device}", f"{bridges} from-{packet.input_device}"]
        if drop := find_drop(self.reading.chains, hook, packet, entered if hook == "forward" else ()):
            read = f"chain {drop.place}"
            raise self.broken(
                step, read, drop.rule, f"the chain {drop.place} drops the packet", self._allow(drop.place)
            )
        for chain in known.blocked if known and self.key == HOST and hook == "forward" else ():
            if chain.place.endswith("(iptables-legacy)") and chain.place.startswith("ip6 ") == (packet.family == 6):
                reason = f"the chain {chain.place} drops what is forwarded"
                raise self.broken(step, f"chain {chain.place}", "drop", reason, chain.remedy)
        if any(chain.hook == hook for chain in self.reading.chains):
            self.passed(step, f"chains of nftables at {hook}", "accepted")

    def chain(self, step: str, table: str, name: str) -> None:
        """A chain of Covey's that must be as it was made."""
        for one in self.reading.differences:
            if one.item in {f"chain {table} {name}", f"table {table}"}:
                reason = f"{one.item} is {one.kind}"
                raise self.broken(step, one.item, one.found[:300] or "missing", reason)

    def rules_of(self, table: str, name: str) -> tuple[str, ...]:
        chain = self.state.tables[table].chains.get(name, NftChain()) if table in self.state.tables else NftChain()
        return chain.rules

    def element(self, table: str, name: str, key: str) -> str | None:
        """The value of a key in a map or set, or None without it."""
        found = self.state.tables.get(table)
        content = found.sets.get(name) if found is not None else None
        return content.elements.get(key) if content is not None else None

    def _allow(self, place: str) -> str:
        known = self.trail.view.hosts[self.host].reading
        if known is None:
            return REPAIR
        for chain in known.blocked:
            if chain.place == place:
                return chain.remedy
        table = place.rpartition(" ")[0]
        if any(one.item.startswith(f"chain {place}") for one in self.reading.differences):
            return REPAIR
        return f"remove the rule, or accept the packet before it: nft -a list table {table}"


def device_of(state: NamespaceState, address: str) -> str:
    """The device that has the address, or empty."""
    return next((device for device, text in state.addresses if str(ip_interface(text).ip) == address), "")
