"""The agent's side of the one stream to the leader: assignments down, statuses and logs up."""

from agent.session.ports import StatusUpdate, WorkerPort
from agent.session.session import AgentSession

__all__ = ["AgentSession", "StatusUpdate", "WorkerPort"]
