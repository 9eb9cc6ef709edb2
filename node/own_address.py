"""The address that this node advertises, on a host that may have another one since.

Law: a node keeps the address that it advertised while its host has it; another is taken only when there is no doubt which. Called by
``node.membership`` before a life begins.
"""

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from covey.errors import InvalidArgumentError
from node import addresses
from node.addresses import LocalAddress
from node.life import Life
from node.options import Options
from node.record import NodeRecord

WAIT_SECONDS = 3.0
"""A host that boots may have no address yet."""
_PAUSE_SECONDS = 0.5

log = logging.getLogger(__name__)


async def still_here(options: Options, record: NodeRecord, advertise: str = "", listen: str = "") -> NodeRecord:
    """The record with the addresses that are named, or with one that this host has if it lost the one of before.

    Raises:
        InvalidArgumentError: no address, or none that can be told.
    """
    known = await asyncio.to_thread(addresses.local)
    advertise, listen = (addresses.without_port(word, options.join_port) for word in (advertise, listen))
    return placed(record, known, standard=options.advertise_addr, advertise=advertise, listen=listen)


def placed(
    record: NodeRecord, known: Sequence[LocalAddress], *, standard: str = "", advertise: str = "", listen: str = ""
) -> NodeRecord:
    """Pure; words without ports. To listen at all addresses is what clients say where nothing was asked.

    Raises:
        InvalidArgumentError: no address of this host, or none that can be told.
    """
    if listen not in addresses.ANY:
        found, bound = addresses.pair(advertise, listen, standard, known)
        return msgspec.structs.replace(record, advertise_addr=found, listen_addr=bound)
    if not advertise and addresses.is_here(record.advertise_addr, known):
        return record
    found = addresses.choose(advertise, known) if advertise else addresses.instead(standard, known)
    bound = record.listen_addr if record.listen_addr in addresses.ANY else found
    return msgspec.structs.replace(record, advertise_addr=found, listen_addr=bound)


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
