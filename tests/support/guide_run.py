"""Walks through a page of ``docs/guides``: every code block runs on the hosts of a lab that the page names, in order.

A block's head is ``sh on=HOST[,HOST…]``, with ``retry`` to repeat it until it succeeds, or ``code=N`` for another exit code than 0.
A comment ``<!-- lab: VERB HOST… -->`` says what happens to hosts between two blocks: kill, start, wipe (a new disk), move HOST ADDRESS
(boot with that address), settle (wait until every living node is ready).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from node.lab import cluster as lab_cluster
from node.lab import host as machine
from node.lab import network
from node.lab.layout import GATEWAY, SUBNET, LabHost
from tests.support.labs import LabCluster

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
RETRY_SECONDS = 60.0
_STEP = re.compile(
    r"^<!-- lab: (?P<act>[^\n]+) -->$"
    r"|^```sh on=(?P<on>\S+)(?P<retry> retry)?(?: code=(?P<code>\d+))?$\n(?P<script>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A code block: the page's names of its hosts, its commands, and the exit code that it must have."""

    hosts: tuple[str, ...]
    script: str
    retry: bool
    code: int


class Act(NamedTuple):
    """What happens to hosts."""

    verb: str
    names: tuple[str, ...]


def steps(guide: str) -> list[Block | Act]:
    """The steps of a page. Raises AssertionError if a block would not be run."""
    page = (GUIDES / guide).read_text()
    found = list(_steps(page))
    blocks = sum(isinstance(step, Block) for step in found)
    assert blocks == page.count("```sh") > 0, "every block is run"
    return found


def _steps(page: str) -> Iterator[Block | Act]:
    for step in _STEP.finditer(page):
        if step["act"]:
            verb, *names = step["act"].split()
            yield Act(verb, tuple(names))
        else:
            yield Block(tuple(step["on"].split(",")), step["script"], bool(step["retry"]), int(step["code"] or 0))


class GuideHosts:
    """The lab's hosts by the names that the page gives them: manager-1, worker-1, 10.0.0.N."""

    def __init__(self, lab: LabCluster) -> None:
        self.lab = lab
        self.hosts: dict[str, LabHost] = {
            **{f"manager-{number}": host for number, host in enumerate(lab.managers, start=1)},
            **{f"worker-{number}": host for number, host in enumerate(lab.workers, start=1)},
        }

    def for_lab(self, text: str) -> str:
        """Replace the page's names and addresses by those of the lab."""
        text = text.replace("10.0.0.", f"{SUBNET}.")
        return re.sub(r"\b(manager|worker)-\d\b", lambda found: self.hosts[found[0]].name, text)

    def act(self, act: Act) -> None:
        hosts = [self.hosts[name] for name in act.names if name in self.hosts]
        match act.verb:
            case "kill":
                self.lab.kill(*hosts)
            case "start":
                self.lab.start(*hosts)
            case "wipe":
                for path in [path for host in hosts for path in host.state_dir.iterdir()]:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            case "move":
                self._boot_at(hosts[0], self.for_lab(act.names[1]))
            case "settle":
                self.lab.wait_ready()
            case _:
                raise AssertionError(f"the page has the unknown verb {act.verb}")

    def _boot_at(self, host: LabHost, address: str) -> None:
        machine.remove_cgroups(host.cgroup)
        network.connect_host(self.lab.lab, host)
        machine.boot(host)
        self.lab.inside(host, "ip", "address", "flush", "dev", "eth0")
        self.lab.inside(host, "ip", "address", "add", f"{address}/24", "dev", "eth0")
        self.lab.inside(host, "ip", "route", "add", "default", "via", GATEWAY)
        lab_cluster.start_daemon(host)
