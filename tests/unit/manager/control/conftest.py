"""The control API on an in-memory store."""

import pytest

from manager.control.servicer import ControlServicer
from manager.store import MemoryConsensus, Store
from tests.support.no_logs import NoLogs


@pytest.fixture
def store() -> Store:
    return Store(MemoryConsensus)


@pytest.fixture
def control(store: Store) -> ControlServicer:
    return ControlServicer(store, NoLogs())
