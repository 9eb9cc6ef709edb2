"""The generic control loop of the leader: plans as data, planners that remember what is dirty, one shell that carries plans out."""

from manager.loop.plan import EMPTY, Plan, Step, combine
from manager.loop.planner import KeyedPlanner, Planner
from manager.loop.shell import Loop

__all__ = ["EMPTY", "KeyedPlanner", "Loop", "Plan", "Planner", "Step", "combine"]
