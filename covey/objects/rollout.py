"""How the tasks of a service are run and moved: what labels of the service say about it."""

from covey.objects.base import Struct


class RolloutOptions(Struct, frozen=True, kw_only=True):
    """What labels of a service say about how its tasks are run and moved (`covey.service_options.rollout`).

    ``rebalance``: tasks move to nodes that have been there for ``rebalance_after_ns``. ``canaries``: as many tasks are updated first; the
    update then waits for a promotion, or with ``canary_monitor_ns`` until they have run for that long.
    """

    stopped: bool = False
    rebalance: bool = False
    rebalance_after_ns: int = 0
    canaries: int = 0
    canary_monitor_ns: int = 0
