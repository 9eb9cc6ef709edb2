"""A daemon that is killed at any step of creating, starting and removing a container leaves nothing half-made, and the space comes back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.container.model import RunStatus
from tests.support.container_host import Host, running

pytestmark = pytest.mark.root
ROOT = Path(__file__).parents[2]
MAX_STEPS = 60


def run_until(host: Host, step: int) -> int:
    """Run the daemon until it kills itself before this step. Returns the number of all steps if it came to the end, else 0."""
    program = [
        sys.executable,
        "-m",
        "tests.support.container_steps",
        str(host.state.parent),
        host.cgroup_parent,
        str(step),
    ]
    done = subprocess.run(
        program, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/proto"},
    )  # fmt: skip
    if done.stdout.startswith("DONE"):
        return int(done.stdout.split()[1])
    assert done.returncode == -9, done.stderr
    return 0


async def check_and_remove_all(host: Host) -> None:
    """Whatever the next daemon lists is whole: it can be started and removed. Afterwards nothing is left."""
    async with running(host) as service:
        for container in service.list():
            assert container.state.status is not RunStatus.REMOVING
            await service.start(container.id)
            assert service.get(container.id).state.running
            await service.remove(container.id, force=True, volumes=True)
        assert [volume.name for volume in service.volumes.list()] == []
        assert list((host.state / "containers").iterdir()) == []
    assert host.leftovers() == []
    assert host.monitors() == []


async def test_a_kill_at_any_step_leaves_whole_containers_or_none(tmp_path: Path) -> None:
    host = Host(tmp_path)
    try:
        for step in range(1, MAX_STEPS):
            count = run_until(host, step)
            await check_and_remove_all(host)
            if count:
                assert count == step - 1 > 8, "every step was killed once"
                return
        raise AssertionError(f"the container's life has more than {MAX_STEPS} steps")
    finally:
        host.tear_down()
