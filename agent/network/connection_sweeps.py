"""The sweeps of connections to stopped tasks, one network at a time, with pauses in which more changes gather.

Started by `driver`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial

from agent.network.draining import drain_pause, sweep
from agent.network.host_networks import HostNetworks
from agent.network.kernel_thread import KernelThread
from covey.errors import CoveyError

logger = logging.getLogger(__name__)


async def sweep_connections(due: asyncio.Event, host: HostNetworks, thread: KernelThread) -> None:
    """Delete connections to stopped tasks whenever `due` is set, until cancelled. Other work of the thread runs between two networks.

    Each look is followed by a pause in proportion.
    """
    while True:
        await due.wait()
        due.clear()
        while (work := host.drain.take()) is not None:
            began = time.monotonic()
            try:
                await thread.run(partial(sweep, host.overlays.path(work.network_id), work))
            except (CoveyError, OSError) as error:
                logger.warning(
                    "network %s: connections to stopped tasks could not be deleted: %s", work.network_id, error
                )
            await asyncio.sleep(drain_pause(time.monotonic() - began))
