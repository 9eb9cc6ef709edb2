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
from node.node_ports import chosen_join_port
from node.node_record import NodeRecord
from node.options import DaemonOptions

WAIT_SECONDS = 3.0
"""A host that is booting may have no address yet."""
_POLL_SECONDS = 0.5

log = logging.getLogger(__name__)


async def current_addresses(
    options: DaemonOptions, record: NodeRecord, advertise: str = "", listen: str = ""
) -> NodeRecord:
    """The record with the given addresses, or with another one of this host if it has lost the recorded one.

    Raises:
        InvalidArgumentError: there is no address, or none can be chosen.
    """
    local = await asyncio.to_thread(addresses.local_addresses)
    join_port = chosen_join_port(options, listen, advertise)
    advertise, listen = addresses.host_of(advertise), addresses.host_of(listen)
    updated = updated_addresses(record, local, default=options.advertise_addr, advertise=advertise, listen=listen)
    return msgspec.structs.replace(updated, join_port=join_port or record.join_port)


def updated_addresses(
    record: NodeRecord, local: Sequence[LocalAddress], *, default: str = "", advertise: str = "", listen: str = ""
) -> NodeRecord:
    """The record with its new addresses. Pure; the texts carry no port. A client that asks for nothing sends a wildcard ``listen``.

    Raises:
        InvalidArgumentError: this host has no such address, or none can be chosen.
    """
    if listen not in addresses.ANY_ADDRESS:
        advertised, bound = addresses.choose_addresses(advertise, listen, default, local)
        return msgspec.structs.replace(record, advertise_addr=advertised, listen_addr=bound)
    if not advertise and addresses.is_local(record.advertise_addr, local):
        return record
    choose = addresses.choose_advertise_address if advertise else addresses.replacement_address
    advertised = choose(advertise or default, local)
    bound = record.listen_addr if record.listen_addr in addresses.ANY_ADDRESS else advertised
    return msgspec.structs.replace(record, advertise_addr=advertised, listen_addr=bound)


async def wait_for_local_address(options: DaemonOptions, session: MembershipSession) -> None:
    """Return once this host has the session's advertise address. After 3 s another address is chosen; while that is impossible, the
    session shows why.
    """
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    lost, message = session.record.current.advertise_addr, ""
    while not addresses.is_local(lost, await asyncio.to_thread(addresses.local_addresses)):
        if asyncio.get_running_loop().time() > deadline:
            try:
                record = await current_addresses(options, session.record.current)
            except InvalidArgumentError as error:
                if error.message not in message:
                    message = f"this host has lost the address {lost}: {error.message}, and restart coveyd"
                    session.set_error(message)
                    log.error("%s", message)  # noqa: TRY400 - a sentence
            else:
                session.set_record(record)
                log.warning("this host has lost the address %s and now advertises %s", lost, record.advertise_addr)
                return
        await asyncio.sleep(_POLL_SECONDS)
