import asyncio
import contextlib

from agent.image.registry.transfer_slots import TransferSlots


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_higher_limit_lets_waiters_in_and_a_lower_one_waits_for_free_slots() -> None:
    slots, running, leave = TransferSlots(1), set[int](), [asyncio.Event() for _ in range(5)]

    async def transfer(number: int) -> None:
        async with slots:
            running.add(number)
            await leave[number].wait()
        running.discard(number)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(transfer(number))
        await _settle()
        assert running == {0}
        assert slots.locked()
        slots.set_limit(3)
        await _settle()
        assert running == {0, 1, 2}
        slots.set_limit(1)
        leave[0].set()
        leave[1].set()
        await _settle()
        assert running == {2}
        leave[2].set()
        await _settle()
        assert running == {3}
        for event in leave:
            event.set()
    assert not slots.locked()


async def test_a_cancelled_waiter_takes_no_slot_even_if_it_was_just_granted() -> None:
    slots = TransferSlots(1)
    await slots.__aenter__()

    async def wait() -> None:
        async with slots:
            raise AssertionError("never entered")

    waiting, granted = asyncio.create_task(wait()), asyncio.create_task(wait())
    await _settle()
    waiting.cancel()
    await _settle()
    await slots.__aexit__()  # grants the slot to `granted`, which is cancelled before it runs
    granted.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await granted
    assert not slots.locked()
