"""Network driver on a lab host, which is a set of namespaces: new /sys, private /run, own PIDs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root
ROOT = Path(__file__).parents[2]

DAEMON = """
import asyncio, pathlib, socket, sys
from agent.network import links
from agent.network.driver import NetworkDriver
from agent.network.model import Attachment, NetworkChanges, OverlayNetwork
from agent.network.netns import Namespace
from tests.support import built_links
from covey.objects.assignment import NetworkEndpoint, VirtualService

def world():
    return NetworkChanges(
        networks=(OverlayNetwork("n", "web", 4097, "10.0.1.0/24", "10.0.1.1"),),
        endpoints=(NetworkEndpoint(
            id="t/n", network_id="n", host="127.0.0.1", address="10.0.1.5", service_id="s", ready=True),),
        services=(VirtualService(id="s/n", network_id="n", service_id="s", name="svc", address="10.0.1.100"),))

async def main(first):
    driver = NetworkDriver("127.0.0.1", pathlib.Path("/run/covey"), lambda: ())
    await driver.start()
    assert await driver.apply(world()) == ()
    if first:
        path = await driver.create_sandbox("c1")
        await driver.attach("c1", Attachment("n", "10.0.1.5/24", "eth0"))
    else:
        path = await driver.adopt("c1", [Attachment("n", "10.0.1.5/24", "eth0")])
    out = links.run_in_namespace(Namespace(path), "read", lambda route: built_links.link_mac(route, links.index_of(route, "eth0")))
    inside = Namespace(path)
    server = inside.run(lambda: socket.create_server(("0.0.0.0", 80)))
    link = inside.run(lambda: socket.create_connection(("10.0.1.100", 80), timeout=3))
    link.close(); server.close()
    def ask():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(3)
            s.sendto(b"\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\3svc\\0\\0\\1\\0\\1", ("127.0.0.11", 53))
            return s.recv(512)[-4:]
    assert await asyncio.to_thread(inside.run, ask) == bytes((10, 0, 1, 100))
    if not first:
        await driver.remove_everything()
        assert not list(pathlib.Path("/run/covey/netns/containers").iterdir())
        await driver.close()
    print(out, flush=True)
    if first:
        import os
        os.kill(os.getpid(), 9)

asyncio.run(main(sys.argv[1] == "first"))
"""

HOST = """
set -e
mount -t tmpfs tmpfs /run
mount -t sysfs sysfs /sys
"$1" -c "$2" first || true
"$1" -c "$2" second
"""


async def test_a_driver_killed_in_a_lab_host_is_succeeded_by_one_that_adopts_the_container() -> None:
    flags = ["--net", "--mount", "--pid", "--uts", "--fork", "--mount-proc", "--kill-child"]
    host = await asyncio.create_subprocess_exec(
        "unshare", *flags, "sh", "-c", HOST + "\n", "sh", sys.executable, DAEMON,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(host.communicate(), 60)
    finally:
        if host.returncode is None:
            host.kill()
            await host.wait()
    lines = out.decode().splitlines()
    assert host.returncode == 0, err.decode()
    assert len(lines) == 2
    assert lines[0] == lines[1]
