"""The generic control loop of the leader: plans as data, planners that remember what is dirty, one shell that carries plans out."""

from manager.loop.control_loop import ControlLoop
from manager.loop.plan import EMPTY, Plan, Step, combine
from manager.loop.planner import KeyedPlanner, Planner

__all__ = ["EMPTY", "ControlLoop", "KeyedPlanner", "Plan", "Planner", "Step", "combine"]
