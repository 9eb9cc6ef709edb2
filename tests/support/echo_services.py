"""Services that tell each client who it looks like, and clients of them at every place of a lab. Used by the tests of the routing mesh."""

from __future__ import annotations

import sys
from pathlib import Path

from node.lab.layout import LabHost
from tests.support import echo_client, echo_server, sctp_echo
from tests.support.labs import IMAGE, LabCluster, wait

SERVER, CLIENT = str(Path(echo_server.__file__)), str(Path(echo_client.__file__))
SCTP = str(Path(sctp_echo.__file__))
SYSTEM = [path for path in ("/usr", "/lib", "/lib64", "/etc/ld.so.cache") if Path(path).exists()]
OUTSIDE = {4: "192.168.77.254", 6: "fd00:77::fe"}
"""The address of the place outside the cluster."""
MOUNTS = [f"type=bind,src={path},dst={path},ro" for path in SYSTEM] + [f"type=bind,src={SERVER},dst=/echo.py,ro"]


def publish(lab: LabCluster, name: str, port: int, *options: str, replicas: int = 1) -> None:
    """Create a service whose tasks answer on TCP and UDP, and wait until every host leads there."""
    mounts = [word for mount in MOUNTS for word in ("--mount", mount)]
    lab.docker("service", "create", "-q", "-d", "--name", name, "--replicas", str(replicas), "-p", f"{port}:80", "-p",
               f"{port}:80/udp", *mounts, *options, IMAGE, "/usr/bin/python3", "/echo.py", "80")  # fmt: skip
    lab.running(name, replicas)
    for host in lab.hosts:
        wait(
            lambda host=host: not outside(lab, "tcp", host.address, port).startswith("error"),
            f"{host.name} answers for {name}",
        )


def outside(lab: LabCluster, kind: str, address: str, port: int, *source: str) -> str:
    return lab.outside(sys.executable, CLIENT, kind, address, str(port), *source).out.strip()


def on_host(lab: LabCluster, host: LabHost, kind: str, address: str, port: int) -> str:
    return lab.inside(host, sys.executable, CLIENT, kind, address, str(port)).out.strip()


def in_container(lab: LabCluster, host: LabHost, container: str, kind: str, address: str, port: int) -> str:
    pid = lab.docker("inspect", "--format", "{{.State.Pid}}", container, on=host).out.strip()
    return lab.inside(host, "nsenter", "-t", pid, "-n", sys.executable, CLIENT, kind, address, str(port)).out.strip()


def address_of(host: LabHost, family: int) -> str:
    return host.address if family == 4 else host.address6


def seen(answer: str) -> str:
    """The address that the task saw."""
    assert not answer.startswith("error"), answer
    return answer.split()[1]
