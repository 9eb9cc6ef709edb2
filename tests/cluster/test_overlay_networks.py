"""Overlay networks across hosts: DNS names, VIPs, isolation, subnets, outside names, and cleanup of stale addresses."""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
SERVE_HOSTNAME = ("sh", "-c", "hostname > /www/index.html; exec httpd -f -p 80 -h /www")


@pytest.fixture
def outside(lab: LabCluster) -> Iterator[None]:
    """A DNS server at the address in the hosts' resolv.conf, so that unknown names get NXDOMAIN at once."""
    with lab.nameserver():
        yield


def resolve(lab: LabCluster, task: dict, name: str) -> set[str]:
    """Addresses that a name resolves to inside a container; empty if it does not resolve."""
    said = lab.execute(task, "nslookup", "-type=a", name, check=None).out
    answers = said.partition("Name:")[2]
    return set(re.findall(r"Address: (\d+\.\d+\.\d+\.\d+)", answers))


def address_of(task: dict) -> str:
    return task["NetworksAttachments"][0]["Addresses"][0].split("/")[0]


def vip_of(lab: LabCluster, service: str) -> str:
    return lab.get(f"/services/{service}")["Endpoint"]["VirtualIPs"][0]["Addr"].split("/")[0]


def fetch(lab: LabCluster, task: dict, host: str, times: int = 1) -> list[str]:
    script = f"for i in $(seq {times}); do timeout 3 wget -q -O - http://{host}/ || echo failed; done"
    return lab.execute(task, "sh", "-c", script).lines


def test_a_service_name_reaches_every_replica_from_every_host(lab: LabCluster) -> None:
    lab.docker("network", "create", "-d", "overlay", "net")
    lab.service(
        "web", "--replicas", "5", "--network", "net", "--hostname", "{{.Node.Hostname}}", command=SERVE_HOSTNAME
    )
    lab.service("client", "--mode", "global", "--network", "net")
    web, clients = lab.running("web", 5), lab.running("client", 5)
    assert len(set(lab.hosts_of(web))) == 5
    for client in clients:
        assert resolve(lab, client, "web") == {vip_of(lab, "web")}
        seen = Counter(fetch(lab, client, "web", 20))
        assert set(seen) == {host.name for host in lab.hosts}, (lab.host_of(client).name, seen)
        # Round robin spreads evenly; a hash could leave a replica out.
        assert max(seen.values()) - min(seen.values()) <= 2, seen


@pytest.mark.usefixtures("outside")
def test_tasks_names_and_dnsrr_resolve_to_the_addresses_of_running_tasks(lab: LabCluster) -> None:
    lab.docker("network", "create", "-d", "overlay", "net")
    lab.service("vip", "--replicas", "3", "--network", "net", command=labs.WEB)
    lab.service("rr", "--replicas", "2", "--network", "net", "--endpoint-mode", "dnsrr", command=labs.WEB)
    lab.service("client", "--network", "net")
    client = lab.running("client", 1)[0]
    vip, rr = lab.running("vip", 3), lab.running("rr", 2)
    assert resolve(lab, client, "tasks.vip") == {address_of(task) for task in vip}
    assert resolve(lab, client, "rr") == {address_of(task) for task in rr}
    assert resolve(lab, client, "tasks.rr") == {address_of(task) for task in rr}
    assert not lab.get("/services/rr")["Endpoint"].get("VirtualIPs")
    assert fetch(lab, client, "rr") == ["ok"]
    assert resolve(lab, client, "nobody") == set()
    # The VIP is not the address of any task.
    assert resolve(lab, client, "vip") == {vip_of(lab, "vip")}
    assert vip_of(lab, "vip") not in {address_of(task) for task in vip}


@pytest.mark.usefixtures("outside")
def test_networks_are_isolated_in_names_and_packets(lab: LabCluster) -> None:
    for name in ("red", "blue"):
        lab.docker("network", "create", "-d", "overlay", name)
        lab.service(f"web-{name}", "--replicas", "2", "--network", name, command=labs.WEB)
        lab.service(f"client-{name}", "--network", name)
    lab.service("both", "--network", "red", "--network", "blue")
    red, blue = lab.running("client-red", 1)[0], lab.running("client-blue", 1)[0]
    targets = lab.running("web-blue", 2)
    lab.running("web-red", 2)
    assert fetch(lab, red, "web-red") == ["ok"]
    assert fetch(lab, blue, "web-blue") == ["ok"]
    assert resolve(lab, red, "web-blue") == set()
    assert resolve(lab, red, "tasks.web-blue") == set()
    hidden = [*(address_of(task) for task in targets), vip_of(lab, "web-blue")]
    tries = "".join(f"(timeout 2 wget -q -O - http://{address}/ && echo reached) & " for address in hidden)
    assert lab.execute(red, "sh", "-c", f"{tries} wait").out == ""
    both = lab.running("both", 1)[0]
    assert fetch(lab, both, "web-red") == fetch(lab, both, "web-blue") == ["ok"]
    # A task without an overlay network resolves neither name.
    lab.service("alone")
    alone = lab.running("alone", 1)[0]
    assert resolve(lab, alone, "web-red") == set()


def test_subnets_do_not_overlap_and_match_the_request(lab: LabCluster) -> None:
    for number in range(3):
        lab.docker("network", "create", "-d", "overlay", f"auto{number}")
    lab.docker("network", "create", "-d", "overlay", "--subnet", "10.200.3.0/25", "--gateway", "10.200.3.9", "asked")
    networks = [n for n in lab.get("/networks") if n["Scope"] == "swarm" and not n["Ingress"]]
    subnets = {n["Name"]: ipaddress.ip_network(n["IPAM"]["Config"][0]["Subnet"]) for n in networks}
    assert len(subnets) == 4
    for name, subnet in subnets.items():
        assert not [other for other, taken in subnets.items() if other != name and taken.overlaps(subnet)]
    assert str(subnets["asked"]) == "10.200.3.0/25"
    lab.service("web", "--replicas", "4", "--network", "asked", command=labs.WEB)
    used = {ipaddress.ip_address(address_of(task)) for task in lab.running("web", 4)}
    used.add(ipaddress.ip_address(vip_of(lab, "web")))
    assert len(used) == 5
    assert all(address in subnets["asked"] for address in used)
    assert ipaddress.ip_address("10.200.3.9") not in used
    refused = lab.docker("network", "create", "-d", "overlay", "--subnet", "10.200.3.64/26", "over", check=1)
    assert "overlaps" in refused.err, refused.err
    assert "over" not in {network["Name"] for network in lab.get("/networks")}
    # A freed subnet can be used again.
    lab.docker("service", "rm", "web")
    lab.docker("network", "rm", "asked")
    lab.docker("network", "create", "-d", "overlay", "--subnet", "10.200.3.0/24", "again")


@pytest.mark.usefixtures("outside")
def test_outside_names_are_resolved_by_the_hosts_resolver(lab: LabCluster) -> None:
    lab.docker("network", "create", "-d", "overlay", "net")
    lab.service("client", "--network", "net")
    client = lab.running("client", 1)[0]
    assert resolve(lab, client, "outside.example") == {"198.51.100.7"}
    assert "NXDOMAIN" in lab.execute(client, "nslookup", "-type=a", "nowhere.example", check=None).out
    # A name of the cluster is not forwarded.
    assert resolve(lab, client, "client") == {vip_of(lab, "client")}


def test_a_scaled_down_service_leaves_no_stale_address(lab: LabCluster) -> None:
    lab.docker("network", "create", "-d", "overlay", "net")
    lab.service("web", "--replicas", "5", "--network", "net", "--endpoint-mode", "vip", command=labs.WEB)
    lab.service("client", "--mode", "global", "--network", "net")
    lab.running("web", 5)
    clients = lab.running("client", 5)
    lab.docker("service", "scale", "-d", "web=2")
    left = {address_of(task) for task in lab.running("web", 2)}
    for client in clients:
        labs.wait(lambda c=client: resolve(lab, c, "tasks.web") == left, "the names without the removed tasks", 30)
        assert set(fetch(lab, client, "web", 6)) == {"ok"}


def test_a_network_in_use_cannot_be_removed_and_a_removed_one_leaves_no_device(lab: LabCluster) -> None:
    lab.docker("network", "create", "-d", "overlay", "net")
    lab.service("web", "--replicas", "5", "--network", "net", command=labs.WEB)
    lab.running("web", 5)
    refused = lab.docker("network", "rm", "net", check=1)
    assert "net" in refused.err
    assert "in use" in refused.err or "active endpoints" in refused.err, refused.err

    def namespaces() -> list[str]:
        """The namespaces of networks and containers. The tunnel of the routing mesh is in none of them."""
        return [name for host in lab.hosts for name in lab.inside(host, "find", "/run/covey/netns", "-type", "f").lines]

    try:
        labs.wait(lambda: len(namespaces()) == 2 * 5, "a namespace of the network and one of a container on each host")
    except AssertionError as error:
        raise AssertionError(f"{error}: {namespaces()}") from None
    lab.docker("service", "rm", "web")
    lab.docker("network", "rm", "net")
    labs.wait(lambda: not namespaces(), "no trace of the network on any host", 30)


@pytest.fixture
def small_lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("names", 1, 2, archive=images) as found:
        yield found


def test_names_have_no_address_of_a_dead_host_after_its_tasks_are_replaced(small_lab: LabCluster) -> None:
    lab = small_lab
    one, two, three = lab.hosts
    lab.docker("network", "create", "-d", "overlay", "net")
    lab.service("client", "--network", "net", "--constraint", f"node.hostname=={one.name}")
    client = lab.running("client", 1)[0]
    lab.service("web", "--replicas", "4", "--network", "net", "--constraint", "node.role==worker", command=labs.WEB)
    before = lab.running("web", 4)
    dead = {address_of(task) for task in before if lab.host_of(task) == three}
    assert dead
    lab.kill(three)
    labs.wait(lambda: set(lab.hosts_of(lab.running("web", 4))) == {two}, "all replicas on the remaining host")
    alive = {address_of(task) for task in lab.running("web", 4)}
    labs.wait(lambda: resolve(lab, client, "tasks.web") == alive, "names without dead addresses", 15)
    assert not dead & alive, "an address was reused while its container may still run"
    assert set(fetch(lab, client, "web", 20)) == {"ok"}
    # The host returns: names do not resolve to its old containers.
    lab.start(three)
    lab.wait_ready()
    assert resolve(lab, client, "tasks.web") == alive
    assert set(fetch(lab, client, "web", 12)) == {"ok"}
    lab.docker("service", "scale", "-d", "web=6")
    tasks = lab.running("web", 6)
    assert three in lab.hosts_of(tasks)
    labs.wait(lambda: resolve(lab, client, "tasks.web") == {address_of(t) for t in tasks}, "the new names", 30)
    assert set(fetch(lab, client, "web", 12)) == {"ok"}
