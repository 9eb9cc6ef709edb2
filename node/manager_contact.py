"""Error message of a node that has lost contact with all managers. Pure.

Invariant: short interruptions, such as an election or a manager's restart, are not reported. Called by ``node.membership_session``.
"""

import datetime as dt

from covey.clock import SECOND

DISCONNECTED_AFTER_SECONDS = 30.0


def disconnected_message(silent_seconds: float, now_ns: int) -> str:
    """For people, with the remedy; empty if a leader has this node, or had it a moment ago."""
    if silent_seconds < DISCONNECTED_AFTER_SECONDS:
        return ""
    since = dt.datetime.fromtimestamp(now_ns / SECOND - silent_seconds, dt.UTC)
    return (
        f"no manager that leads has answered this node since {since:%Y-%m-%d %H:%M} UTC; its tasks run on. Check that the managers run and "
        'can be reached; if they have other addresses now, tell this node one: "covey swarm reconnect HOST"'
    )
