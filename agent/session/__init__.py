"""The agent's session with the leader: one stream that carries assignments down, task statuses and logs up."""

from agent.session.interfaces import WorkerPort
from agent.session.session import AgentSession

__all__ = ["AgentSession", "WorkerPort"]
