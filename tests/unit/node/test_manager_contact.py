"""A node without contact to a leader reports it with the remedy, but not after a short interruption."""

from node.manager_contact import DISCONNECTED_AFTER_SECONDS, disconnected_message

NOW = 1_700_000_000 * 10**9


def test_a_short_time_without_a_leader_is_not_reported() -> None:
    assert disconnected_message(0.0, NOW) == ""
    assert disconnected_message(DISCONNECTED_AFTER_SECONDS - 0.1, NOW) == ""


def test_a_disconnected_node_reports_since_when_and_the_message_does_not_change() -> None:
    """`docker info` of a worker whose managers had all moved showed no error."""
    message = disconnected_message(DISCONNECTED_AFTER_SECONDS, NOW)
    assert message.startswith("this node has had no contact with a leading manager since 2023-11-14 22:12 UTC")
    assert "covey swarm reconnect HOST" in message
    assert disconnected_message(DISCONNECTED_AFTER_SECONDS + 3600, NOW + 3600 * 10**9) == message
