"""Ticker: bounded catch-up after a pause, and detection of a paused process or a stalled disk."""

from manager.raft.ticker import TICK_SECONDS, Ticker

ELECTION_TICK = 10


class Clock:
    """The seconds since boot that the ticker reads."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_period_is_one_tick() -> None:
    clock = Clock()
    ticker = Ticker(ELECTION_TICK, now=clock)
    assert ticker.tick(clock.now + TICK_SECONDS) == ""
    assert ticker.take_due() == 1
    assert ticker.take_due() == 0


def test_ticks_missed_by_a_busy_loop_are_not_all_made_up() -> None:
    """Otherwise a node would take the time in which it did not read messages for the silence of its leader."""
    clock = Clock()
    ticker = Ticker(ELECTION_TICK, now=clock)
    for _ in range(50):
        clock.now += TICK_SECONDS
        ticker.tick(clock.now)
    assert ticker.take_due() == 2


def test_a_pause_as_long_as_an_election_is_a_stall() -> None:
    clock = Clock()
    ticker = Ticker(ELECTION_TICK, now=clock)
    assert ticker.tick(clock.now + 1.4) == ""
    assert "paused for 1.6 s" in ticker.tick(clock.now + 3.0)
    assert ticker.tick(clock.now + 3.1) == "", "one pause is reported once"


def test_a_pause_that_is_noticed_before_the_next_tick_is_reported_once() -> None:
    clock = Clock()
    ticker = Ticker(ELECTION_TICK, now=clock)
    clock.now += 1.6
    assert "paused for 1.6 s" in ticker.take_pause()
    assert ticker.take_pause() == ""
    assert ticker.tick(clock.now + TICK_SECONDS) == ""


def test_a_write_that_takes_as_long_as_an_election_is_a_stall_until_it_ends() -> None:
    clock = Clock()
    ticker = Ticker(ELECTION_TICK, now=clock)
    ticker.write_began()
    stalls = []
    for _ in range(20):
        clock.now += TICK_SECONDS
        stalls.append(ticker.tick(clock.now))
    assert not any(stalls[:14])
    assert "disk has not completed a write" in stalls[-1]
    ticker.write_ended()
    clock.now += TICK_SECONDS
    assert ticker.tick(clock.now) == ""
