"""A node that no manager answers says so, with the remedy; a moment without one is no trouble."""

from node.manager_contact import DISCONNECTED_AFTER_SECONDS, disconnected_message

NOW = 1_700_000_000 * 10**9


def test_a_moment_without_a_leader_is_no_trouble() -> None:
    assert disconnected_message(0.0, NOW) == ""
    assert disconnected_message(DISCONNECTED_AFTER_SECONDS - 0.1, NOW) == ""


def test_who_is_cut_off_says_since_when_and_what_to_do_and_goes_on_saying_the_same() -> None:
    """`docker info` of a worker whose managers had all moved showed no error."""
    said = disconnected_message(DISCONNECTED_AFTER_SECONDS, NOW)
    assert said.startswith("this node has had no contact with a leading manager since 2023-11-14 22:12 UTC")
    assert "covey swarm reconnect HOST" in said
    assert disconnected_message(DISCONNECTED_AFTER_SECONDS + 3600, NOW + 3600 * 10**9) == said
