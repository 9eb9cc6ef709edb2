"""Names, paths and addresses of a lab, computed from the lab's name and a host's number. Pure."""

import re
from pathlib import Path

import msgspec

from covey.errors import InvalidArgumentError

MAX_HOSTS = 9
MAX_ETCD = 5
ETCD_PORT = 2379
LAB_ROOT = Path("/var/lib/covey-lab")
CGROUP_ROOT = "/covey-lab"
SUBNET = "192.168.77"
SUBNET6 = "fd00:77:"
GATEWAY = f"{SUBNET}.254"
GATEWAY6 = f"{SUBNET6}:fe"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,23}\Z")


REGISTRIES_FILE = "registries.toml"


class EtcdMember(msgspec.Struct, frozen=True):
    """One member of the etcd on the lab's switch; ``number`` counts from 1."""

    lab: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.lab}-etcd-{self.number}"

    @property
    def port(self) -> int:
        return ETCD_PORT + 10 * (self.number - 1)

    @property
    def client_url(self) -> str:
        return f"http://{GATEWAY}:{self.port}"

    @property
    def peer_url(self) -> str:
        return f"http://{GATEWAY}:{self.port + 1}"

    @property
    def folder(self) -> Path:
        return LAB_ROOT / self.lab / self.name

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    @property
    def environment_file(self) -> Path:
        """Lines of NAME=VALUE that the member's environment also gets, read at each start."""
        return self.folder / "environment"


class LabHost(msgspec.Struct, frozen=True):
    """One host of a lab; ``number`` counts from 1, managers first. ``store`` is what its daemon gets as ``--store``."""

    lab: str
    number: int
    store: str = ""

    @property
    def name(self) -> str:
        return f"{self.lab}-{self.number}"

    @property
    def address(self) -> str:
        return f"{SUBNET}.{self.number}"

    @property
    def address6(self) -> str:
        return f"{SUBNET6}:{self.number}"

    @property
    def mac(self) -> str:
        """Fixed, because peers would not reach a host with a new address for half a minute after a reboot."""
        return f"02:c0:7e:00:00:{self.number:02x}"

    @property
    def netns(self) -> str:
        return f"covey-{self.name}"

    @property
    def port(self) -> str:
        """The switch's end of the host's veth pair."""
        return f"port{self.number}"

    @property
    def folder(self) -> Path:
        return LAB_ROOT / self.lab / self.name

    @property
    def state_dir(self) -> Path:
        """The host's disk, which survives ``kill``."""
        return self.folder / "state"

    @property
    def disk_image(self) -> Path:
        """File system image. If it exists before the host first boots, it is mounted at ``state_dir``, so that the disk can be full."""
        return self.folder / "disk.img"

    @property
    def environment_file(self) -> Path:
        """Lines of NAME=VALUE that the daemon's environment also gets, read at each start."""
        return self.folder / "daemon.env"

    @property
    def registries_file(self) -> Path:
        """Registries of all hosts of the lab, read when a daemon starts. It need not exist."""
        return LAB_ROOT / self.lab / REGISTRIES_FILE

    @property
    def socket(self) -> Path:
        return self.folder / "covey.sock"

    @property
    def log(self) -> Path:
        return self.folder / "coveyd.log"

    @property
    def init_pid_file(self) -> Path:
        return self.folder / "init.pid"

    @property
    def resolv_conf(self) -> Path:
        return self.folder / "resolv.conf"

    @property
    def cgroup(self) -> str:
        return f"{CGROUP_ROOT}/{self.lab}/{self.name}"


class Lab(msgspec.Struct, frozen=True):
    """A lab as recorded in its directory. ``etcd`` is the number of etcd members that store the managers' state; 0 means Raft."""

    name: str
    managers: int
    workers: int
    etcd: int = 0

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        return tuple(LabHost(self.name, number, self.store) for number in range(1, self.managers + self.workers + 1))

    @property
    def etcd_members(self) -> tuple[EtcdMember, ...]:
        return tuple(EtcdMember(self.name, number) for number in range(1, self.etcd + 1))

    @property
    def store(self) -> str:
        """Value of ``coveyd --store``."""
        endpoints = ",".join(f"{GATEWAY}:{member.port}" for member in self.etcd_members)
        return f"etcd://{endpoints}/covey" if endpoints else ""

    @property
    def folder(self) -> Path:
        return LAB_ROOT / self.name

    @property
    def registries_file(self) -> Path:
        """The registries file of all hosts. It need not exist."""
        return self.folder / REGISTRIES_FILE

    @property
    def record(self) -> Path:
        return self.folder / "lab.json"

    @property
    def switch(self) -> str:
        """The bridge's namespace."""
        return f"covey-{self.name}-switch"


def validate(lab: Lab) -> None:
    """Check the name and size of a lab.

    Raises:
        InvalidArgumentError: names the invalid part and what is allowed.
    """
    if not _NAME.match(lab.name):
        raise InvalidArgumentError(
            f"lab name {lab.name!r} is not valid: use up to 24 lower-case letters, digits and dashes, starting with a letter"
        )
    if not 0 <= lab.etcd <= MAX_ETCD:
        raise InvalidArgumentError(f"the etcd of a lab has 1 to {MAX_ETCD} members, not {lab.etcd}")
    if lab.managers < 1 or lab.workers < 0 or lab.managers + lab.workers > MAX_HOSTS:
        raise InvalidArgumentError(
            f"a lab has 1 to {MAX_HOSTS} hosts with at least one manager, not {lab.managers} managers and {lab.workers} workers"
        )
