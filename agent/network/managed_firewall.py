"""Accept rules of Covey in forward chains of the host's firewall, where the operator allowed it (`--manage-firewall`).

Invariant: only chains that drop forwarded packets get rules, and all rules of ours carry a comment with the daemon's prefix, by which a
later process, or one without the option, finds and removes them. Invariant: nothing else of others is changed.

In a chain of nftables (those of iptables-nft, too) the rules come first. iptables-legacy gets a chain of ours and a jump to it,
as Docker does; the change is one transaction of iptables-restore, which needs the program iptables-legacy.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from agent.network import xtables
from agent.network.firewall import DEVICE_BEGINNINGS, ForwardChain, dropping_nft_chains, forward_chains, is_own_table
from agent.network.netns import Namespace
from agent.network.nftables import NftablesContext
from covey.errors import UnavailableError, UnsupportedError

_PROGRAM_SECONDS = 10.0
_LEGACY_PROGRAMS = {"ip": "iptables-legacy", "ip6": "ip6tables-legacy"}


def comment(prefix: str) -> str:
    """The comment of the rules of the daemon with this prefix."""
    return f"{prefix}: containers"


def nft_rules(prefix: str) -> tuple[str, ...]:
    """The accept rules in their order, in a form that iptables-nft can list. Pure."""
    devices = (prefix, *(f"{beginning}*" for beginning in DEVICE_BEGINNINGS))
    return (
        *(f'iifname "{device}" counter accept comment "{comment(prefix)}"' for device in devices),
        *(
            f'oifname "{device}" ct state related,established counter accept comment "{comment(prefix)}"'
            for device in devices
        ),
        f'ct status dnat counter accept comment "{comment(prefix)}"',
    )


def plan_nft(chain: ForwardChain, listing: bytes, prefix: str, *, wanted: bool) -> tuple[str, ...]:
    """The commands, for one transaction, that make the chain begin with our rules, or have none of them. Pure.

    `listing` is the JSON of `nft list chain`. There are no commands when nothing is to do.
    """
    rules: list[dict[str, Any]] = [one["rule"] for one in msgspec.json.decode(listing)["nftables"] if "rule" in one]
    ours = [rule["handle"] for rule in rules if rule.get("comment") == comment(prefix)]
    accepts = nft_rules(prefix) if wanted else ()
    if len(ours) == len(accepts) and ours == [rule["handle"] for rule in rules[: len(ours)]]:
        return ()
    place = f"{chain.family} {chain.table} {chain.name}"
    return (
        *(f"delete rule {place} handle {handle}" for handle in ours),
        *(f"insert rule {place} {rule}" for rule in reversed(accepts)),
    )


def plan_legacy(saved: str, prefix: str, *, wanted: bool) -> str:
    """The input of `iptables-restore --noflush` that makes FORWARD begin with a jump to our chain, or removes both. Pure.

    `saved` is the output of `iptables-save -t filter`; empty when nothing is to do.
    """
    chain = legacy_chain(prefix)
    jump = f'-m comment --comment "{comment(prefix)}" -j {chain}'
    forward = [line for line in saved.splitlines() if line.startswith("-A FORWARD ")]
    jumps = [line for line in forward if line.endswith(f"-j {chain}")]
    own = [line for line in saved.splitlines() if line.startswith(f"-A {chain} ")]
    rules = [f"-A {chain} {rule}" for rule in _legacy_rules(prefix)]
    if not wanted:
        if not jumps and f":{chain} " not in saved:
            return ""
        removal = [f"-D {line.removeprefix('-A ')}" for line in jumps]
        return "\n".join(["*filter", *removal, f"-F {chain}", f"-X {chain}", "COMMIT", ""])
    if own == rules and len(jumps) == 1 and forward[:1] == jumps:
        return ""
    removal = [f"-D {line.removeprefix('-A ')}" for line in jumps]
    return "\n".join(
        ["*filter", f":{chain} - [0:0]", f"-F {chain}", *removal, *rules, f"-I FORWARD {jump}", "COMMIT", ""]
    )


def legacy_chain(prefix: str) -> str:
    """Our chain of iptables-legacy."""
    return f"{prefix}-forward"


def _legacy_rules(prefix: str) -> tuple[str, ...]:
    """As iptables-save prints them."""
    devices = (prefix, *(f"{beginning}+" for beginning in DEVICE_BEGINNINGS))
    return (
        *(f"-i {device} -j ACCEPT" for device in devices),
        *(f"-o {device} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT" for device in devices),
        "-m conntrack --ctstate DNAT -j ACCEPT",
    )


def apply(host: Namespace, prefix: str, *, wanted: bool) -> tuple[str, ...]:
    """Bring our rules in the host's firewall to what is wanted. Returns the chains that were changed.

    Raises CoveyError when a rule is refused, or iptables-legacy is needed and missing.
    """
    changed = _apply_nft(host, prefix, wanted=wanted)
    legacy = (
        f"{family} filter FORWARD (iptables-legacy)"
        for family in _LEGACY_PROGRAMS
        if host.run(partial(_apply_legacy, family, prefix, wanted=wanted))
    )
    return (*changed, *legacy)


def _apply_nft(host: Namespace, prefix: str, *, wanted: bool) -> Sequence[str]:
    nftables = NftablesContext(host)
    changed = []
    try:
        dropping = dropping_nft_chains(nftables) if wanted else []
        for chain, _ in forward_chains(nftables.run("list chains")):
            if is_own_table(chain.table):
                continue
            place = f"{chain.family} {chain.table} {chain.name}"
            commands = plan_nft(chain, nftables.list_json(f"list chain {place}"), prefix, wanted=chain in dropping)
            if commands:
                nftables.run("\n".join(commands))
                changed.append(place)
    except UnsupportedError:
        return ()
    finally:
        nftables.close()
    return changed


def _apply_legacy(family: str, prefix: str, *, wanted: bool) -> bool:
    """For one family, inside the host's namespace."""
    if not xtables.is_loaded(family):
        return False
    program = _LEGACY_PROGRAMS[family]
    if not shutil.which(f"{program}-restore"):
        if not wanted:
            return False
        raise UnsupportedError(
            f"{program} is not installed, which --manage-firewall needs on this host: apt-get install iptables"
        )
    saved = _run([f"{program}-save", "-t", "filter"], "")
    is_dropping = ":FORWARD DROP " in saved
    restore = plan_legacy(saved, prefix, wanted=wanted and is_dropping)
    if restore:
        _run([f"{program}-restore", "--noflush", "--wait", "5"], restore)
    return bool(restore)


def _run(command: list[str], given: str) -> str:
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=_PROGRAM_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{command[0]} failed: {error}") from error
    if done.returncode:
        raise UnavailableError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout
