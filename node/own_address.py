"""The address that this node advertises, on a host that may have another one since.

Law: a node keeps the address that it advertised while its host has it; another is taken only when there is no doubt which. Called by
``node.membership`` before a life begins.
"""

import asyncio
import logging

import msgspec

from covey.errors import InvalidArgumentError
from node import addresses
from node.life import Life
from node.options import Options
from node.record import NodeRecord

WAIT_SECONDS = 3.0
"""A host that boots may have no address yet."""
_PAUSE_SECONDS = 0.5

log = logging.getLogger(__name__)


async def still_here(options: Options, record: NodeRecord, advertise: str = "") -> NodeRecord:
    """The record with the address that is named, or with one that this host has if it lost the one of before.

    Raises:
        InvalidArgumentError: no address, or none that can be told.
    """
    known = await asyncio.to_thread(addresses.local)
    if not advertise and addresses.is_here(record.advertise_addr, known):
        return record
    if advertise:
        found = addresses.choose(addresses.without_port(advertise, options.join_port), known)
    else:
        found = addresses.instead(options.advertise_addr, known)
    listen = record.listen_addr if record.listen_addr in {*addresses.ANY, found} else found
    return msgspec.structs.replace(record, advertise_addr=found, listen_addr=listen)


async def find_own_address(options: Options, life: Life) -> None:
    """Returns once the life has an address that its host has: the one of before is waited for, then another is taken. Says why it waits."""
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    before, said = life.record.advertise_addr, ""
    while not addresses.is_here(before, await asyncio.to_thread(addresses.local)):
        if asyncio.get_running_loop().time() > deadline:
            try:
                life.moved(await still_here(options, life.record))
            except InvalidArgumentError as error:
                if error.message not in said:
                    said = f"this host has lost the address {before}: {error.message}, and restart coveyd"
                    life.stuck(said)
                    log.error("%s", said)  # noqa: TRY400 - a sentence
            else:
                log.warning(
                    "this host has lost the address %s and advertises %s now", before, life.record.advertise_addr
                )
                return
        await asyncio.sleep(_PAUSE_SECONDS)
