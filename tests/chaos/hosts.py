"""Lab hosts with fault injection: full disks, wrong clocks and broken links. The lab is always torn down.

Disks are file systems in files, mounted only in the host. Clocks: ``clock.c`` is preloaded into the host's daemons and adds the offset in a
file to their wall clock, also for gRPC and TLS. Links are broken with nftables in the host. A method that begins a fault returns False if
there was nothing to break.
"""

import base64
import contextlib
import http.client
import json
import os
import secrets
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from covey.errors import CoveyError
from node.lab import api, cluster, etcd, network
from node.lab import host as machine
from node.lab.layout import GATEWAY, EtcdMember, Lab, LabHost

DISK_MIB = 48
CLOCK_SOURCE = Path(__file__).with_name("clock.c")
BALLAST_BYTES = 400_000
BALLAST_SECONDS = 6.0
CALL_SECONDS = 3.0
TABLE = "covey_chaos"
ETCD_MEMBERS = 3
ETCD_QUOTA_BYTES = 16 << 20
ETCD_FILLER = "filler"
ETCD_FILLER_BYTES = 1 << 20
ENDED = 143


class Engine(StrEnum):
    """Consensus backend of the managers."""

    RAFT = "raft"
    ETCD = "etcd"


class Arena:
    """Hosts of a lab and the faults that can be injected into them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.hosts = lab.hosts[: lab.managers]
        self.etcd = lab.etcd_members
        self.engine = Engine.ETCD if self.etcd else Engine.RAFT
        self._etcd_filled = False

    def sockets(self) -> list[tuple[str, Path]]:
        return [(str(host.number), host.socket) for host in self.hosts]

    def leader(self, asked: Sequence[LabHost] = ()) -> LabHost | None:
        """Host of the leader, according to the first host that answers."""
        for host in asked or self.hosts:
            with contextlib.suppress(OSError, CoveyError, ValueError):
                for node in api.call(host.socket, "GET", "/nodes", timeout_seconds=CALL_SECONDS):
                    if (node.get("ManagerStatus") or {}).get("Leader"):
                        return next(one for one in self.hosts if one.name == node["Description"]["Hostname"])
        return None

    # Processes

    def manager_pid(self, host: LabHost) -> int | None:
        """PID of the host's manager process in the root PID namespace, or None."""
        init = machine.init_pid(host)
        if init is None:
            return None
        with contextlib.suppress(OSError):
            space = Path(f"/proc/{init}/ns/pid").readlink()
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if (
                        b"manager.main" in (process / "cmdline").read_bytes()
                        and (process / "ns/pid").readlink() == space
                    ):
                        return int(process.name)
        return None

    def signal_manager(self, host: LabHost, number: signal.Signals) -> int | None:
        pid = self.manager_pid(host)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid

    def power_off(self, host: LabHost) -> bool:
        lived = machine.init_pid(host) is not None
        machine.power_off(host)
        return lived

    def crash_daemon(self, host: LabHost) -> bool:
        with contextlib.suppress(CoveyError):
            machine.crash_daemon(host)
            return True
        return False

    def start(self, host: LabHost) -> None:
        if machine.daemon_pid(host) is None:
            cluster.start(self.lab, host)

    # Links

    def set_cable(self, host: LabHost, *, up: bool) -> None:
        network.set_link(self.lab, host, up=up)

    def drop(self, host: LabHost, *, incoming: Sequence[LabHost] = (), outgoing: Sequence[LabHost] = ()) -> None:
        """Drop packets from and to these hosts."""
        self._drop(host, [other.address for other in incoming], [other.address for other in outgoing])

    def drop_etcd(self, host: LabHost) -> None:
        """Drop all packets between the host and every etcd member."""
        self._drop(host, [GATEWAY], [GATEWAY])

    def _drop(self, host: LabHost, incoming: Sequence[str], outgoing: Sequence[str]) -> None:
        rules = [f"add table inet {TABLE}"]
        for hook, word, others in (("input", "saddr", incoming), ("output", "daddr", outgoing)):
            if others:
                addresses = ", ".join(others)
                rules.append(f"add chain inet {TABLE} {hook} {{ type filter hook {hook} priority 0; }}")
                rules.append(f"add rule inet {TABLE} {hook} ip {word} {{ {addresses} }} drop")
        self._nft(host, "\n".join(rules))

    def undrop(self, host: LabHost) -> None:
        self._nft(host, f"add table inet {TABLE}\ndelete table inet {TABLE}")

    def _nft(self, host: LabHost, script: str) -> None:
        """Run nft in the host's network namespace, which exists also while the host is dead."""
        command = ["nsenter", f"--net=/run/netns/{host.netns}", "nft", "-f", "-"]
        subprocess.run(command, input=script.encode(), check=True, capture_output=True)

    # etcd members, if etcd is the engine

    def kill_etcd(self, member: EtcdMember) -> bool:
        lived = etcd.pid(member) is not None
        etcd.kill(member)
        return lived

    def start_etcd(self, member: EtcdMember) -> None:
        if etcd.pid(member) is None:
            etcd.start(self.lab, member)

    def signal_etcd(self, member: EtcdMember, number: signal.Signals) -> bool:
        with contextlib.suppress(CoveyError, ProcessLookupError):
            etcd.send_signal(member, number)
            return True
        return False

    def fill_etcd(self) -> bool:
        """Fill the database to its quota, so that all members refuse writes."""
        self._etcd_filled = True
        for _ in range(2 * ETCD_QUOTA_BYTES // ETCD_FILLER_BYTES):
            done = etcd.run_etcdctl(self.lab, "put", ETCD_FILLER, stdin=b"x" * ETCD_FILLER_BYTES)
            if done.returncode:
                return b"database space exceeded" in done.stderr
        return False

    def free_etcd(self) -> bool:
        """Free the database as an operator does. Returns False if a member does not answer; then repeat it."""
        if self._etcd_filled:
            gone = etcd.run_etcdctl(self.lab, "del", ETCD_FILLER, "--write-out", "json")
            if gone.returncode:
                return False
            etcd.run_etcdctl(self.lab, "compaction", "--physical", str(json.loads(gone.stdout)["header"]["revision"]))
            shrunk = [etcd.run_etcdctl(self.lab, "defrag", members=(member,)).returncode == 0 for member in self.etcd]
            disarmed = etcd.run_etcdctl(self.lab, "alarm", "disarm").returncode == 0
            self._etcd_filled = not (disarmed and all(shrunk))
        return not self._etcd_filled

    # Disk and clock

    def fill_disk(self, host: LabHost) -> bool:
        """Fill the disk to the last byte, then write more than the space that the log has preallocated."""
        name = f"ballast-{secrets.token_hex(4)}"
        ends = time.monotonic() + BALLAST_SECONDS
        others_first = sorted(self.hosts, key=lambda other: other == host)
        filled = self._fill(host)
        while filled and time.monotonic() < ends:
            if any(self._write_ballast(other, name) for other in others_first):
                return True
        return False

    def _write_ballast(self, host: LabHost, name: str) -> bool:
        """Create and remove a large secret. A successful removal shows that it was written, even if the create got no answer."""
        data = base64.b64encode(os.urandom(BALLAST_BYTES)).decode()
        self._call(host, "POST", "/secrets/create", {"Name": name, "Data": data})
        return self._call(host, "DELETE", f"/secrets/{name}")

    def _call(self, host: LabHost, method: str, path: str, body: object = None) -> bool:
        with contextlib.suppress(OSError, CoveyError, http.client.HTTPException, ValueError):
            api.call(host.socket, method, path, body, timeout_seconds=CALL_SECONDS)
            return True
        return False

    def _fill(self, host: LabHost) -> bool:
        with contextlib.suppress(OSError), self._state_file(host, "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"\0" * size)
            return True
        return False

    def free_disk(self, host: LabHost) -> None:
        with contextlib.suppress(OSError):
            self._state_file(host, "filler").unlink()

    def _state_file(self, host: LabHost, name: str) -> Path:
        init = machine.init_pid(host)
        if init is None:
            raise OSError(f"{host.name} is dead")
        return Path(f"/proc/{init}/root{host.state_dir}/{name}")

    def set_clock(self, host: LabHost, seconds: float) -> None:
        """Set the offset of the host's wall clock."""
        with _clock_file(host).open("r+b") as file:  # in place: the daemons have the file mapped
            file.write(struct.pack("=q", int(seconds * 1e9)))

    def heal(self) -> None:
        """Undo all faults, in an order in which each step can succeed."""
        for member in self.etcd:
            self.signal_etcd(member, signal.SIGCONT)
            self.start_etcd(member)
        for host in self.hosts:
            self.signal_manager(host, signal.SIGCONT)
            self.free_disk(host)
            self.undrop(host)
            self.set_cable(host, up=True)
            self.set_clock(host, 0)
        for host in self.hosts:
            self.start(host)
        machine.wait_until(self.free_etcd, "free space in etcd", etcd.READY_SECONDS)


def _clock_file(host: LabHost) -> Path:
    return host.folder / "clock"


def _compile_clock(lab: Lab) -> Path:
    folder = lab.hosts[0].folder  # removed with the lab
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "clock.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(CLOCK_SOURCE), "-ldl"], check=True)
    return library


def _prepare(host: LabHost, clock: Path) -> None:
    host.folder.mkdir(parents=True, exist_ok=True)
    environment = [f"PYTHONPATH={path}" for path in filter(None, [os.environ.get("PYTHONPATH")])]
    _clock_file(host).write_bytes(bytes(8))
    environment += [f"LD_PRELOAD={clock}", f"COVEY_CLOCK_FILE={_clock_file(host)}"]
    host.environment_file.write_text("".join(line + "\n" for line in environment))
    with host.disk_image.open("wb") as file:
        file.truncate(DISK_MIB << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(host.disk_image)], check=True)


def _limit_database(member: EtcdMember) -> None:
    """Give the member a small database quota."""
    member.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    member.environment_file.write_text(f"ETCD_QUOTA_BACKEND_BYTES={ETCD_QUOTA_BYTES}\n")


def exit_on_sigterm() -> None:
    """Turn SIGTERM into SystemExit, so that the lab is torn down. A forked child of netlink code exits at once."""
    owner = os.getpid()

    def end(*_: object) -> None:
        if os.getpid() != owner:
            os._exit(ENDED)
        sys.exit(ENDED)

    signal.signal(signal.SIGTERM, end)


@contextlib.contextmanager
def arena(name: str, managers: int, engine: Engine = Engine.RAFT) -> Iterator[Arena]:
    """Run a cluster of managers for the length of a with block."""
    lab = Lab(name, managers, 0, ETCD_MEMBERS if engine is Engine.ETCD else 0)
    made = Arena(lab)
    try:
        clock = _compile_clock(lab)
        for host in lab.hosts:
            _prepare(host, clock)
        for member in lab.etcd_members:
            _limit_database(member)
        with cluster.running(lab):
            try:
                yield made
            finally:
                for member in made.etcd:
                    made.signal_etcd(member, signal.SIGCONT)
                for host in lab.hosts:  # a paused process would not end with its host
                    made.signal_manager(host, signal.SIGCONT)
    finally:
        for host in lab.hosts:
            machine.remove_disk(host)
        with contextlib.suppress(OSError):
            lab.folder.rmdir()
