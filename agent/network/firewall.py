"""Detection of host firewall rules that drop container traffic, with the commands that let it through.

A packet that any table's forward chain drops is lost, whatever the tables of Covey accept. A chain drops by its policy, or by a last
rule without a condition, as firewalld's. ufw and firewalld are told by the names of chains and tables, and have their own commands.

Invariant: this module reads rules and never changes one of the host; `managed_firewall` does, where the operator allowed it.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, NamedTuple

import msgspec

from agent.network import xtables
from agent.network.netns import Namespace
from agent.network.nftables import NftablesContext
from covey.errors import CoveyError

_TABLE = re.compile(r"table (ip|ip6|inet) (\S+) \{")
_CHAIN = re.compile(r"chain (\S+) \{")
_OWN_TABLE = re.compile(r"covey\w*-")
_FORWARDED_FAMILIES = ("ip", "ip6")
DEVICE_BEGINNINGS = ("br-", "cv")
"""How the names of devices begin that carry containers' traffic beside the default bridge: networks of users, and ways out."""


class ForwardChain(NamedTuple):
    """A base chain at the forward hook. `legacy` is one of iptables-legacy. `owner` is a firewall with commands of its own, or empty."""

    family: str
    table: str
    name: str
    legacy: bool = False
    owner: str = ""

    @property
    def is_iptables(self) -> bool:
        """Whether the commands of iptables or ip6tables reach the chain."""
        return self.name == "FORWARD" and self.table == "filter" and self.family in _FORWARDED_FAMILIES

    @property
    def place(self) -> str:
        """Family, table and name, and the tool of a chain that nftables does not list."""
        return f"{self.family} {self.table} {self.name}" + (" (iptables-legacy)" if self.legacy else "")

    def remedy(self, bridge: str) -> str:
        """The commands that let containers and published ports through."""
        return _remedy(bridge, self)


def forward_chains(listing: str) -> tuple[tuple[ForwardChain, bool], ...]:
    """The forward chains in the output of `nft list chains`, each with whether its policy drops. Pure."""
    found: list[tuple[ForwardChain, bool]] = []
    ufw = {match[1] for match in re.finditer(r"table (\S+) filter \{(?:(?!\n\}).)*?chain ufw6?-", listing, re.DOTALL)}
    table: re.Match[str] | None = None
    chain = ""
    for line in map(str.strip, listing.splitlines()):
        if line.startswith("table "):
            table = _TABLE.match(line)
        elif line.startswith("chain "):
            match = _CHAIN.match(line)
            chain = match[1] if match else ""
        elif table and chain and "hook forward" in line:
            owner = "firewalld" if table[2] == "firewalld" else "ufw" if chain == "FORWARD" and table[1] in ufw else ""
            found.append((ForwardChain(table[1], table[2], chain, owner=owner), "policy drop" in line))
    return tuple(found)


def dropping_chains(listing: str) -> tuple[ForwardChain, ...]:
    """Those of them with a drop policy. Pure."""
    return tuple(chain for chain, drops in forward_chains(listing) if drops)


def ends_with_drop(listing: bytes) -> bool:
    """Whether the last rule in the JSON of `nft list chain` drops or rejects without a condition. Pure."""
    rules = [one["rule"]["expr"] for one in msgspec.json.decode(listing)["nftables"] if "rule" in one]
    return bool(rules) and _drops_everything(rules[-1])


def _drops_everything(statements: list[dict[str, Any]]) -> bool:
    kinds = {kind for statement in statements for kind in statement}
    return bool(kinds & {"drop", "reject"}) and not kinds & {"match", "xt"}


def warning_text(bridge: str, chain: ForwardChain) -> str:
    """The warning for users: which chain drops, and the commands that let containers and published ports through. Pure.

    A connection to a published port is one whose address was translated, at the entry node of the routing mesh as well.
    """
    where = f"{chain.owner}'s " if chain.owner else ""
    tool = " (iptables-legacy)" if chain.legacy else ""
    return (
        "WARNING: containers may have no outbound access, and published ports may not answer: the chain "
        f"{chain.name} of {where or 'the '}firewall table {chain.family} {chain.table}{tool} on this host drops forwarded packets, "
        f"and no rule there names {bridge}. The daemon keeps such rules itself with --manage-firewall. Allow them: {_remedy(bridge, chain)}"
    )


def _remedy(bridge: str, chain: ForwardChain) -> str:
    interfaces = (bridge, *(f"{beginning}+" for beginning in DEVICE_BEGINNINGS))
    if chain.owner == "ufw":
        return "; ".join(f"ufw route allow in on {each}; ufw route allow out on {each}" for each in interfaces)
    if chain.owner == "firewalld":  # it accepts translated connections by itself
        trusted = "; ".join(f"firewall-cmd --permanent --zone=trusted --add-interface={each}" for each in interfaces)
        return f"{trusted}; firewall-cmd --reload"
    if chain.is_iptables:
        program = "iptables" if chain.family == "ip" else "ip6tables"
        accept = "; ".join(
            f"{program} -I FORWARD -i {device} -j ACCEPT; "
            f"{program} -I FORWARD -o {device} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
            for device in interfaces
        )
        return f"{accept}; {program} -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"
    rule = f"nft insert rule {chain.family} {chain.table} {chain.name}"
    devices = ", ".join(f'"{each}"' for each in (bridge, *(f"{beginning}*" for beginning in DEVICE_BEGINNINGS)))
    return (
        f"{rule} iifname {{ {devices} }} accept; {rule} oifname {{ {devices} }} ct state related,established accept; "
        f"{rule} ct status dnat accept"
    )


def warnings(host: Namespace, bridge: str) -> tuple[str, ...]:
    """A warning for each chain that drops forwarded packets and has no rule in its table that names the bridge."""
    return tuple(warning_text(bridge, chain) for chain in found_chains(host, bridge))


def found_chains(host: Namespace, bridge: str) -> tuple[ForwardChain, ...]:
    """The chains of others that drop forwarded packets, without those whose table names the bridge."""
    found = list(_nftables_chains(host, bridge))
    found += [
        ForwardChain(family, "filter", "FORWARD", legacy=True)
        for family in _FORWARDED_FAMILIES
        if host.run(partial(xtables.forward_drops, family, bridge))
    ]
    return tuple(found)


def _nftables_chains(host: Namespace, bridge: str) -> list[ForwardChain]:
    nftables = NftablesContext(host)
    try:
        return [
            chain
            for chain in dropping_nft_chains(nftables)
            if not _names(nftables.run(f"list table {chain.family} {chain.table}"), bridge)
        ]
    except CoveyError:  # a kernel without nftables drops nothing; the first network reports that it is missing
        return []
    finally:
        nftables.close()


def dropping_nft_chains(nftables: NftablesContext) -> list[ForwardChain]:
    """The forward chains of nftables that drop, without those of Covey."""
    return [
        chain
        for chain, drops in forward_chains(nftables.run("list chains"))
        if not is_own_table(chain.table)
        and (drops or ends_with_drop(nftables.list_json(f"list chain {chain.family} {chain.table} {chain.name}")))
    ]


def is_own_table(name: str) -> bool:
    """Whether a table of nftables is one of a daemon of Covey, whose drops are meant. Pure."""
    return _OWN_TABLE.match(name) is not None


def _names(listing: str, bridge: str) -> bool:
    return re.search(rf"\b{re.escape(bridge)}\b", listing) is not None
