"""Advertise address after a restart: keeps the recorded address, or chooses a new one if the host no longer has it.

Invariant: a node keeps its advertise address while its host has it. Another one is used only if the choice is unambiguous. Called by
``node.membership_supervisor`` before a session starts, and by ``node.membership`` for force-new-cluster.
"""

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from covey.errors import InvalidArgumentError
from node import addresses
from node.addresses import LocalAddress
from node.membership_session import MembershipSession
from node.node_record import NodeRecord
from node.options import DaemonOptions

WAIT_SECONDS = 3.0
"""A host that boots may have no address yet."""
_PAUSE_SECONDS = 0.5

log = logging.getLogger(__name__)


async def current_addresses(
    options: DaemonOptions, record: NodeRecord, advertise: str = "", listen: str = ""
) -> NodeRecord:
    """The record with the addresses that are named, or with one that this host has if it lost the one of before.

    Raises:
        InvalidArgumentError: no address, or none that can be told.
    """
    known = await asyncio.to_thread(addresses.local_addresses)
    advertise, listen = (addresses.host_without_port(word, options.join_port) for word in (advertise, listen))
    return updated_addresses(record, known, default=options.advertise_addr, advertise=advertise, listen=listen)


def updated_addresses(
    record: NodeRecord, local: Sequence[LocalAddress], *, default: str = "", advertise: str = "", listen: str = ""
) -> NodeRecord:
    """Pure; words without ports. To listen at all addresses is what clients say where nothing was asked.

    Raises:
        InvalidArgumentError: no address of this host, or none that can be told.
    """
    if listen not in addresses.ANY_ADDRESS:
        found, bound = addresses.choose_addresses(advertise, listen, default, local)
        return msgspec.structs.replace(record, advertise_addr=found, listen_addr=bound)
    if not advertise and addresses.is_local(record.advertise_addr, local):
        return record
    found = (
        addresses.choose_advertise_address(advertise, local)
        if advertise
        else addresses.replacement_address(default, local)
    )
    bound = record.listen_addr if record.listen_addr in addresses.ANY_ADDRESS else found
    return msgspec.structs.replace(record, advertise_addr=found, listen_addr=bound)


async def wait_for_local_address(options: DaemonOptions, session: MembershipSession) -> None:
    """Returns once the life has an address that its host has: the one of before is waited for, then another is taken. Says why it waits."""
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    before, said = session.record.advertise_addr, ""
    while not addresses.is_local(before, await asyncio.to_thread(addresses.local_addresses)):
        if asyncio.get_running_loop().time() > deadline:
            try:
                session.set_record(await current_addresses(options, session.record))
            except InvalidArgumentError as error:
                if error.message not in said:
                    said = f"this host has lost the address {before}: {error.message}, and restart coveyd"
                    session.set_error(said)
                    log.error("%s", said)  # noqa: TRY400 - a sentence
            else:
                log.warning(
                    "this host has lost the address %s and advertises %s now", before, session.record.advertise_addr
                )
                return
        await asyncio.sleep(_PAUSE_SECONDS)
