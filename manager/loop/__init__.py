"""Generic control loop of the leader: plans as data, planners that track dirty keys, and a loop that applies plans."""

from manager.loop.control_loop import ControlLoop
from manager.loop.plan import EMPTY, Plan, Step, combine
from manager.loop.planner import KeyedPlanner, Planner

__all__ = ["EMPTY", "ControlLoop", "KeyedPlanner", "Plan", "Planner", "Step", "combine"]
