"""Recorder of the history: follows the store's commits on every manager, leader or not. Run by ``manager.main``."""

from __future__ import annotations

import logging

from covey.errors import LaggedError
from manager.history.entries import entries
from manager.history.log import HistoryLog
from manager.store.store import Store

_log = logging.getLogger("covey.history")


async def record_history(store: Store, history: HistoryLog) -> None:
    """Records until cancelled. Started before the store gets its log, it also sees what is replayed after a restart."""
    while True:
        with store.watch() as (_, commits):
            try:
                async for commit in commits:
                    history.add(commit.version, entries(store.view(), commit))
            except LaggedError as error:
                _log.info("the history has a gap: %s", error)
