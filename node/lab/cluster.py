"""Lab operations: create and remove a lab, and kill, crash, start or inspect its hosts. Used by ``covey lab`` and by tests."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from covey.errors import AlreadyExistsError, CoveyError, DeadlineError, InvalidArgumentError, NotFoundError
from node.lab import api, etcd, network
from node.lab import host as machine
from node.lab.layout import CGROUP_ROOT, LAB_ROOT, Lab, LabHost, validate

DAEMON_SECONDS = 30.0
READY_SECONDS = 60.0


def labs() -> tuple[Lab, ...]:
    """All labs on this machine."""
    records = sorted(LAB_ROOT.glob("*/lab.json")) if LAB_ROOT.is_dir() else []
    return tuple(msgspec.json.decode(record.read_bytes(), type=Lab) for record in records)


def get_lab(name: str) -> Lab:
    """The lab of this name.

    Raises:
        NotFoundError: it does not exist.
    """
    for lab in labs():
        if lab.name == name:
            return lab
    raise NotFoundError(f"no lab {name}: 'covey lab ls' lists labs, 'covey lab up --name {name}' creates one")


def get_host(name: str) -> tuple[Lab, LabHost]:
    """The host of this name, with its lab.

    Raises:
        NotFoundError: it does not exist.
    """
    for lab in labs():
        for host in lab.hosts:
            if host.name == name:
                return lab, host
    raise NotFoundError(f"no lab host {name}: 'covey lab ls' lists hosts")


def up(lab: Lab, *, init_cluster: bool = True) -> None:
    """Create a lab, and with ``init_cluster`` its cluster. Returns when all nodes are ready. A lab that fails is removed again.

    Raises:
        AlreadyExistsError: a lab of this name exists already.
        CoveyError: a host or the cluster did not come up in time.
    """
    validate(lab)
    if lab.record.exists():
        raise AlreadyExistsError(f"lab {lab.name} exists already: 'covey lab down --name {lab.name}' removes it")
    lab.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lab.record.write_bytes(msgspec.json.encode(lab))
    try:
        network.create_switch(lab)
        etcd.start_all(lab)
        for host in lab.hosts:
            network.connect_host(lab, host)
        with ThreadPoolExecutor(max_workers=len(lab.hosts)) as pool:
            list(pool.map(_boot, lab.hosts))
        if init_cluster:
            form_cluster(lab)
    except BaseException:
        down(lab)
        raise


def _boot(host: LabHost) -> None:
    machine.boot(host)
    start_daemon(host)


def start_daemon(host: LabHost) -> None:
    """Start coveyd and wait until it answers.

    Raises:
        DeadlineError: it does not; the message has the last line of its log.
    """
    machine.start_daemon(host)
    try:
        machine.wait_until(lambda: api.answers(host.socket), f"coveyd on {host.name}", DAEMON_SECONDS)
    except DeadlineError as error:
        last = host.log.read_text(errors="replace").strip().rpartition("\n")[2]
        raise DeadlineError(f"{error.message}; the last line of its log: {last}") from error


def form_cluster(lab: Lab) -> None:
    """Run ``swarm init`` on the first host and join the others: managers one by one, then all workers at once."""
    first, *others = lab.hosts
    listen = {"ListenAddr": "0.0.0.0:2377"}
    api.call(first.socket, "POST", "/swarm/init", {**listen, "AdvertiseAddr": first.address})
    tokens = api.call(first.socket, "GET", "/swarm")["JoinTokens"]

    def join(host: LabHost, token: str) -> None:
        body = {**listen, "AdvertiseAddr": host.address, "RemoteAddrs": [f"{first.address}:2377"], "JoinToken": token}
        api.call(host.socket, "POST", "/swarm/join", body)

    for host in others[: lab.managers - 1]:
        join(host, tokens["Manager"])
    with ThreadPoolExecutor(max_workers=max(1, lab.workers)) as pool:
        list(pool.map(lambda host: join(host, tokens["Worker"]), others[lab.managers - 1 :]))
    wait_ready(lab)


def wait_ready(lab: Lab) -> None:
    """Wait until every node of the lab is ready and every manager reachable."""

    def ready() -> bool:
        with contextlib.suppress(OSError, CoveyError):
            return all_ready(api.call(lab.hosts[0].socket, "GET", "/nodes"), lab)
        return False

    machine.wait_until(ready, f"the cluster of lab {lab.name}", READY_SECONDS)


def all_ready(nodes: Sequence[dict[str, object]], lab: Lab) -> bool:
    """Whether a response of ``GET /nodes`` shows all nodes of the lab ready."""
    up_nodes = [node for node in nodes if msgspec.convert(node["Status"], dict[str, object])["State"] == "ready"]
    managers = [
        status
        for node in up_nodes
        if (status := node.get("ManagerStatus"))
        and msgspec.convert(status, dict[str, object])["Reachability"] == "reachable"
    ]
    return len(up_nodes) == len(lab.hosts) and len(managers) == lab.managers


def down(lab: Lab) -> None:
    """Remove the lab: processes, mounts, namespaces, cgroups, disks. Also removes a lab that is only partly there."""
    for host in lab.hosts:
        machine.power_off(host)
    etcd.remove_all(lab)
    for host in lab.hosts:
        network.disconnect_host(lab, host)
    network.remove_switch(lab)
    machine.remove_cgroups(f"{CGROUP_ROOT}/{lab.name}")
    for host in lab.hosts:
        machine.remove_disk(host)
    lab.record.unlink(missing_ok=True)
    lab.registries_file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        lab.folder.rmdir()
    machine.remove_empty_cgroup(CGROUP_ROOT)
    with contextlib.suppress(OSError):
        LAB_ROOT.rmdir()


def kill(host: LabHost) -> None:
    """Power off a host: all its processes end at once, its disk is kept.

    Raises:
        NotFoundError: it is not running.
    """
    if machine.init_pid(host) is None:
        raise NotFoundError(f"host {host.name} is not running")
    machine.power_off(host)


def crash(host: LabHost) -> None:
    """Kill coveyd. Containers keep running."""
    machine.crash_daemon(host)


def start(lab: Lab, host: LabHost) -> None:
    """Start a host that was killed, with its disk, or coveyd after a crash.

    Raises:
        InvalidArgumentError: both run.
    """
    if machine.init_pid(host) is None:
        machine.remove_cgroups(host.cgroup)
        network.connect_host(lab, host)
        machine.boot(host)
    elif machine.daemon_pid(host) is not None:
        raise InvalidArgumentError(f"host {host.name} is already running")
    start_daemon(host)


@contextlib.contextmanager
def running(lab: Lab, *, init_cluster: bool = True) -> Iterator[Lab]:
    """A lab for the length of a with block, always removed at its end."""
    up(lab, init_cluster=init_cluster)
    try:
        yield lab
    finally:
        down(lab)


def status(lab: Lab, host: LabHost) -> str:
    """Status for ``lab ls``: running, cut, crashed or dead."""
    if machine.init_pid(host) is None:
        return "dead"
    if machine.daemon_pid(host) is None:
        return "crashed"
    return "running" if network.link_is_up(lab, host) else "cut"


def socket_of(name: str) -> Path:
    """The Engine API socket of a host."""
    return get_host(name)[1].socket
