"""Names in containers, with the docker client: SRV records, slots and nodes, reverse names, search domains, and names of stopped tasks."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dnslib
import pytest

from agent.network.netns import Namespace
from node.lab import host
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
STALE_SECONDS = 0.5
NETWORK = "10.62.0"


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("names", 1, 1, archive=images) as found:
        found.docker("network", "create", "-d", "overlay", "--subnet", f"{NETWORK}.0/24", "net")
        with found.nameserver():  # it says at once that a name of the cluster is gone
            yield found


def process_of(lab: LabCluster, task: dict[str, Any]) -> Path:
    """The folder in /proc of a task's process, as its host sees it."""
    return process_of_container(lab, lab.container(task), lab.host_of(task))


def process_of_container(lab: LabCluster, container: str, on: LabHost) -> Path:
    pid = lab.docker("inspect", "--format", "{{.State.Pid}}", container, on=on).out.strip()
    return Path(f"/proc/{host.init_pid(on)}/root/proc/{pid}")


class Client:
    """A container, in whose network names are asked."""

    def __init__(self, process: Path) -> None:
        self._namespace = Namespace(str(process / "ns/net"))

    def ask(self, name: str, kind: str = "A", *, tcp: bool = False) -> dnslib.DNSRecord:
        question = dnslib.DNSRecord.question(name, kind)
        return dnslib.DNSRecord.parse(
            self._namespace.run(lambda: question.send("127.0.0.11", 53, tcp=tcp, timeout=labs.SECONDS))
        )

    def answers(self, name: str, kind: str = "A", *, tcp: bool = False) -> set[str]:
        return {str(item.rdata) for item in self.ask(name, kind, tcp=tcp).rr}

    def close(self) -> None:
        self._namespace.close()


@pytest.fixture(scope="module")
def client(lab: LabCluster) -> Iterator[Client]:
    """A task on the first host."""
    lab.service("client", "--network", "net", "--constraint", f"node.hostname=={lab.hosts[0].name}")
    found = Client(process_of(lab, lab.running("client", 1)[0]))
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(autouse=True)
def _clean(lab: LabCluster) -> Iterator[None]:
    yield
    kept = {"client"}
    if names := sorted(set(lab.docker("service", "ls", "--format", "{{.Name}}").lines) - kept):
        lab.docker("service", "rm", *names)


def address_of(task: dict[str, Any]) -> str:
    attached = {item["Network"]["Spec"]["Name"]: item["Addresses"] for item in task["NetworksAttachments"]}
    return attached["net"][0].partition("/")[0]


def test_published_ports_of_services_have_srv_records(lab: LabCluster, client: Client) -> None:
    lab.service("web", "--network", "net", "-p", "8080:80", "-p", "5353:53/udp", "--replicas", "2")
    tasks = lab.running("web", 2)
    labs.wait(lambda: len(client.answers("tasks.web")) == 2, "both tasks to be ready")
    assert client.answers("_80._tcp.web", "SRV") == {"0 1 80 web.net."}
    assert client.answers("_53._udp.web.net", "SRV", tcp=True) == {"0 1 53 web.net."}
    (extra,) = client.ask("_80._tcp.web", "SRV").ar
    assert {str(extra.rdata)} == client.answers("web.net")
    found = client.ask("_80._tcp.tasks.web", "SRV").rr
    assert {str(item.rdata.target) for item in found} == {f"web.{task['Slot']}.{task['ID']}.net." for task in tasks}
    assert {address for item in found for address in client.answers(str(item.rdata.target))} == set(
        map(address_of, tasks)
    )
    empty = client.ask("_81._tcp.web", "SRV")
    assert (empty.header.rcode, empty.rr, empty.auth[0].ttl) == (0, [], 5)
    lab.docker("service", "update", "-d", "--publish-rm", "80", "web")
    labs.wait(lambda: not client.answers("_80._tcp.web", "SRV"), "the record of a port that is no longer published")


def test_a_port_with_a_name_has_a_record_by_its_name(lab: LabCluster, client: Client) -> None:
    lab.service("api", "--network", "net", "--endpoint-mode", "dnsrr")
    labs.wait(lambda: len(client.answers("api")) == 1, "the task to be ready")
    shown = lab.get("/services/api")
    port = {"Name": "metrics", "Protocol": "tcp", "TargetPort": 9100, "PublishedPort": 9100, "PublishMode": "host"}
    spec = shown["Spec"] | {"EndpointSpec": {"Mode": "dnsrr", "Ports": [port]}}
    status, said = lab.request("POST", f"/services/{shown['ID']}/update?version={shown['Version']['Index']}", spec)[:2]
    assert status == 200, said
    labs.wait(lambda: client.answers("_metrics._tcp.api", "SRV"), "the record")
    (record,) = client.ask("_metrics._tcp.api", "SRV").rr
    assert (record.rdata.port, client.answers(str(record.rdata.target))) == (9100, client.answers("tasks.api"))


def test_slots_nodes_and_tasks_have_names(lab: LabCluster, client: Client) -> None:
    lab.service("web", "--network", "net", "--replicas", "2")
    tasks = lab.running("web", 2)
    labs.wait(lambda: len(client.answers("tasks.web")) == 2, "both tasks to be ready")
    for task in tasks:
        address, name = address_of(task), f"web.{task['Slot']}.{task['ID']}"
        assert client.answers(f"web.{task['Slot']}") == {address}
        assert client.answers(f"web.{lab.host_of(task).name}") >= {address}
        assert client.answers(name) == {address}
        reverse = ".".join(reversed(address.split("."))) + ".in-addr.arpa"
        assert client.answers(reverse, "PTR") == {f"{name}.net."}
    lab.service("each", "--network", "net", "--mode", "global")
    everywhere = lab.running("each", len(lab.hosts))
    labs.wait(lambda: len(client.answers("tasks.each")) == len(lab.hosts), "all tasks to be ready")
    for task in everywhere:
        for place in (task["NodeID"], lab.host_of(task).name):
            assert client.answers(f"each.{place}") == {address_of(task)}


@pytest.mark.parametrize("end", ["exit", "scale", "rm"])
def test_no_name_leads_to_a_task_that_has_stopped(lab: LabCluster, client: Client, end: str) -> None:
    """The task is on another host than the client. The median of three rounds, because other labs may share the machine."""
    stale = []
    for _ in range(3):
        stale.append(seconds_of_stale_names(lab, client, end))
        lab.docker("service", "rm", "web", check=None)
    assert sorted(stale)[1] < STALE_SECONDS, stale


def seconds_of_stale_names(lab: LabCluster, client: Client, end: str) -> float:
    """The time from the end of a task's process until its names are gone on the client's host."""
    other = lab.hosts[1]
    options = ("--network", "net", "--restart-condition", "none", "--constraint", f"node.hostname=={other.name}")
    lab.service("web", *options, "--endpoint-mode", "dnsrr")
    (task,) = lab.running("web", 1)
    names = ("web", "tasks.web", f"web.{task['Slot']}", f"web.{other.name}", f"web.{task['Slot']}.{task['ID']}")
    labs.wait(lambda: all(client.answers(name) == {address_of(task)} for name in names), "the names of the task")
    process = process_of(lab, task)
    match end:
        case "exit":
            lab.docker("kill", lab.container(task), on=other)
        case "scale":
            lab.docker("service", "scale", "-d", "web=0")
        case _:
            lab.docker("service", "rm", "web")
    labs.wait(lambda: not process.exists(), "the end of the container")
    ended = time.monotonic()
    labs.wait(lambda: not any(known(client, name) for name in names), "the names to go")
    return time.monotonic() - ended


def known(client: Client, name: str) -> bool:
    reply = client.ask(name)
    return reply.header.rcode == 0 and bool(reply.rr)


def test_containers_have_srv_records_of_the_ports_that_they_expose_and_names_while_they_run(lab: LabCluster) -> None:
    lab.docker("network", "create", "plain")
    with contextlib.ExitStack() as stack:
        stack.callback(lab.docker, "network", "rm", "plain")
        stack.callback(lab.docker, "rm", "-f", "db", "asks", check=None)
        for name in ("db", "asks"):
            lab.docker("run", "-d", "--name", name, "--network", "plain", "--expose", "5432", labs.IMAGE, *labs.SLEEP)
        found = lab.docker("exec", "asks", "nslookup", "-type=srv", "_5432._tcp.db", check=None).out
        assert re.search(r"_5432\._tcp\.db\s+service = 0 1 5432 db\.plain", found), found
        on = lab.hosts[0]
        asks = Client(process_of_container(lab, "asks", on))
        stack.callback(asks.close)
        process = process_of_container(lab, "db", on)
        lab.docker("kill", "db")
        labs.wait(lambda: not process.exists(), "the end of the container")
        ended = time.monotonic()
        labs.wait(lambda: not known(asks, "db") and not known(asks, "db.plain"), "the names to go")
        assert time.monotonic() - ended < STALE_SECONDS


def test_the_hosts_gateway_search_domains_and_options_reach_tasks_and_containers(lab: LabCluster) -> None:
    lab.service(
        "web",
        "--network",
        "net",
        "--host",
        "host.docker.internal:host-gateway",
        "--dns-search",
        "net",
        "--dns-option",
        "ndots:2",
    )
    task = lab.running("web", 1)[0]
    assert lab.execute(task, "cat", "/etc/resolv.conf").out == "nameserver 127.0.0.11\nsearch net\noptions ndots:2\n"
    lab.execute(task, "ping", "-c", "1", "-W", "2", "client")
    lab.execute(task, "ping", "-c", "1", "-W", "2", "host.docker.internal")
    ask = ("run", "--rm", "--add-host", "host.docker.internal:host-gateway", labs.IMAGE)
    lab.docker(*ask, "ping", "-c", "1", "-W", "2", "host.docker.internal")
