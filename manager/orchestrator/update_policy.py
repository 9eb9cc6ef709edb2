"""The update policy in force: the settings of the update or the rollback, the order, and whether canaries hold an update back. Pure."""

from covey.objects import UpdateConfig, UpdateStatus
from covey.states import UpdateOrder, UpdateState
from manager.orchestrator.slots import ServiceContext


def active_update_config(context: ServiceContext) -> UpdateConfig:
    """The update settings in force: those for rollbacks during a rollback."""
    service = context.service
    rolling_back = service.update_status is not None and service.update_status.state in {
        UpdateState.ROLLBACK_STARTED,
        UpdateState.ROLLBACK_PAUSED,
    }
    return (service.spec.rollback if rolling_back else service.spec.update) or UpdateConfig()


def is_start_first(context: ServiceContext) -> bool:
    """Whether updates start the new task before they end the old one."""
    return active_update_config(context).order is UpdateOrder.START_FIRST


def is_testing_canaries(context: ServiceContext, status: UpdateStatus | None) -> bool:
    """Whether an update runs, or waits, of which only the canaries may be updated."""
    if status is None or not context.service.spec.rollout.canaries or status.promoted or status.rebalancing:
        return False
    return status.state is UpdateState.UPDATING or status.awaits_promotion
