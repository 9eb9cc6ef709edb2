"""First start of a manager that fails: the reason is reported at once, and no state is left behind."""

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


async def start_error(config: ManagerConfig) -> str:
    with pytest.raises(UnavailableError) as raised:
        async with asyncio.timeout(25):  # a start takes about 2 s; without a reason the wait is 30 s
            await ManagerProcess(Path(config.run_dir), UnlockKeyCache(Path(config.state_dir))).run(
                lambda: config, must_start=True
            )
    return str(raised.value)


async def test_a_cluster_with_invalid_settings_is_not_created(tmp_path: Path) -> None:
    spec = ClusterSpec(ca=CASettings(node_cert_expiry_ns=1))
    error = await start_error(config(tmp_path, cluster_spec=spec))
    assert error == "the manager did not start: minimum certificate expiry time is: 1h0m0s"
    assert not (tmp_path / "state" / "identity").exists()
    assert not (tmp_path / "state" / "manager" / "raft").exists()


async def test_an_address_pool_smaller_than_a_subnet_is_reported_at_once(tmp_path: Path) -> None:
    error = await start_error(config(tmp_path, default_address_pool=("10.20.0.0/28",)))
    assert "the subnet size 24 does not fit the default address pool 10.20.0.0/28" in error


async def test_a_port_in_use_is_reported_at_once(tmp_path: Path, taken_port: int) -> None:
    error = await start_error(config(tmp_path, join_port=taken_port, mtls_port=0))
    assert f":{taken_port}: the port is in use on this host" in error
    assert "GRPC" not in error


async def test_a_manager_error_is_cleared_when_the_node_is_demoted(tmp_path: Path, taken_port: int) -> None:
    """1. A manager fails repeatedly. 2. Its node is demoted. 3. Formerly the manager's last error stayed the worker's error."""
    manager_config = config(tmp_path, join_port=taken_port, mtls_port=0)
    process = ManagerProcess(Path(manager_config.run_dir), UnlockKeyCache(Path(manager_config.state_dir)))
    running = asyncio.create_task(process.run(lambda: manager_config, must_start=False))
    try:
        await eventually("the error to be reported", lambda: str(taken_port) in process.error)
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert process.error == ""


async def test_a_provided_root_key_is_used_and_not_written_to_the_daemons_config_file(
    tmp_path: Path,
) -> None:
    root = certificates.create_root("given", wall_clock())
    spec = ClusterSpec(ca=CASettings(signing_cert=root.cert, signing_key=root.key))
    manager_config = config(tmp_path, cluster_spec=spec, join_port=0, mtls_port=0)
    process = ManagerProcess(Path(manager_config.run_dir), UnlockKeyCache(Path(manager_config.state_dir)))
    running = asyncio.create_task(process.run(lambda: manager_config, must_start=True))
    try:
        ready = asyncio.create_task(process.wait_ready())
        await asyncio.wait({running, ready}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert process.running, running
        public = load(Path(manager_config.run_dir) / "manager.json")
        assert public.cluster_spec.ca.signing_key == b""
        assert public.cluster_spec.ca.signing_cert == root.cert
        assert (tmp_path / "state" / "identity" / "root.crt").read_bytes() == root.cert
    finally:
        running.cancel()
        await asyncio.wait({running})
