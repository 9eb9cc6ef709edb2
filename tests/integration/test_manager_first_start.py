"""The first start of a manager that cannot be: the reason comes at once, and nothing is half done."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from covey.clock import wall_clock
from covey.errors import UnavailableError
from covey.objects import CASettings, ClusterSpec
from manager.ca import certificates
from manager.config import ManagerConfig, ManagerMode, load
from node.manager_process import ManagerProcess
from node.unlock_key_cache import UnlockKeyCache
from tests.support.manager_processes import eventually


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def config(folder: Path, **changes: object) -> ManagerConfig:
    run_dir = folder / "run"
    run_dir.mkdir()
    fields = {"advertise_addr": "127.0.0.1", "listen_addr": "127.0.0.1", "mode": ManagerMode.BOOTSTRAP, **changes}
    return ManagerConfig(state_dir=str(folder / "state"), run_dir=str(run_dir), **fields)


async def last_words(config: ManagerConfig) -> str:
    with pytest.raises(UnavailableError) as raised:
        async with asyncio.timeout(15):  # a start takes a second or two, a lost reason thirty
            await ManagerProcess(Path(config.run_dir), UnlockKeyCache(Path(config.state_dir))).run(
                lambda: config, must_start=True
            )
    return str(raised.value)


async def test_a_cluster_whose_settings_cannot_be_honoured_is_not_founded(tmp_path: Path) -> None:
    spec = ClusterSpec(ca=CASettings(node_cert_expiry_ns=1))
    words = await last_words(config(tmp_path, cluster_spec=spec))
    assert words == "the manager did not start: minimum certificate expiry time is 1h0m0s"
    assert not (tmp_path / "state" / "identity").exists()
    assert not (tmp_path / "state" / "manager" / "raft").exists()


async def test_a_pool_that_does_not_hold_a_network_is_said_at_once(tmp_path: Path) -> None:
    words = await last_words(config(tmp_path, default_address_pool=("10.20.0.0/28",)))
    assert "the subnet size 24 does not fit the default address pool 10.20.0.0/28" in words


async def test_a_port_that_is_taken_is_said_at_once(tmp_path: Path, taken_port: int) -> None:
    words = await last_words(config(tmp_path, join_port=taken_port, mtls_port=0))
    assert str(taken_port) in words


async def test_what_troubled_a_manager_is_over_when_the_node_is_none_any_more(tmp_path: Path, taken_port: int) -> None:
    """1. A manager ends again and again. 2. Its node is demoted. 3. Its last words stayed the worker's error for ever."""
    made = config(tmp_path, join_port=taken_port, mtls_port=0)
    process = ManagerProcess(Path(made.run_dir), UnlockKeyCache(Path(made.state_dir)))
    running = asyncio.create_task(process.run(lambda: made, must_start=False))
    try:
        await eventually("it is in trouble", lambda: str(taken_port) in process.error)
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert process.error == ""


async def test_the_private_key_of_a_given_root_founds_the_cluster_and_lies_in_no_file_of_the_daemon(
    tmp_path: Path,
) -> None:
    root = certificates.create_root("given", wall_clock())
    spec = ClusterSpec(ca=CASettings(signing_cert=root.cert, signing_key=root.key))
    made = config(tmp_path, cluster_spec=spec, join_port=0, mtls_port=0)
    process = ManagerProcess(Path(made.run_dir), UnlockKeyCache(Path(made.state_dir)))
    running = asyncio.create_task(process.run(lambda: made, must_start=True))
    try:
        ready = asyncio.create_task(process.wait_ready())
        await asyncio.wait({running, ready}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert process.running, running
        public = load(Path(made.run_dir) / "manager.json")
        assert public.cluster_spec.ca.signing_key == b""
        assert public.cluster_spec.ca.signing_cert == root.cert
        assert (tmp_path / "state" / "identity" / "root.crt").read_bytes() == root.cert
    finally:
        running.cancel()
        await asyncio.wait({running})
