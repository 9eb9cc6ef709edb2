"""Error message of a node that has lost contact with all managers. Pure.

Invariant: short interruptions, such as an election or a manager's restart, are not reported. Called by ``node.membership_session``.
"""

import datetime as dt

from covey.clock import SECOND

DISCONNECTED_AFTER_SECONDS = 30.0


def disconnected_message(silent_seconds: float, now_ns: int) -> str:
    """Error with the remedy if no leader has answered for 30 s, else an empty string."""
    if silent_seconds < DISCONNECTED_AFTER_SECONDS:
        return ""
    since = dt.datetime.fromtimestamp(now_ns / SECOND - silent_seconds, dt.UTC)
    return (
        f"this node has had no contact with a leading manager since {since:%Y-%m-%d %H:%M} UTC; its tasks continue to run. Check that "
        'the managers run and are reachable; if their addresses have changed, give this node one of them: "covey swarm reconnect HOST"'
    )
