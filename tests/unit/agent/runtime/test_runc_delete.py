"""Deleting the runtime state of containers."""

import asyncio
from pathlib import Path

import pytest

from agent.runtime.runc import OciRuntime
from covey.errors import UnavailableError


def test_the_runtime_is_only_asked_to_delete_what_it_has_state_of(tmp_path: Path) -> None:
    runtime = OciRuntime("no-such-runtime", tmp_path)
    asyncio.run(runtime.delete("gone"))
    (tmp_path / "left").mkdir()
    with pytest.raises(UnavailableError, match="no-such-runtime"):
        asyncio.run(runtime.delete("left"))
