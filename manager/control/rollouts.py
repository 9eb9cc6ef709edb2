"""Requests about the rollout of a service: promote an update, rebalance. Pure functions on a transaction, called by the servicer."""

from covey.errors import PreconditionError
from covey.objects import UpdateStatus, replace
from covey.states import ServiceMode, UpdateState
from manager.orchestrator.rebalance import begun
from manager.store import Tx

_RUNNING = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)


def promote_service(tx: Tx, ref: str) -> str:
    """Lets the rest of an update follow its canaries, also of one whose canaries are not judged yet."""
    service = tx.services.find(ref)
    name, status = service.spec.annotations.name, service.update_status or UpdateStatus()
    testing = status.state is UpdateState.UPDATING and not status.rebalancing and service.spec.rollout.canaries
    if not status.awaits_promotion and (not testing or status.promoted):
        raise PreconditionError(
            f"service {name} has no update that waits for a promotion; begin one with --update-canary"
        )
    promoted = replace(
        status,
        state=UpdateState.UPDATING,
        awaits_promotion=False,
        promoted=True,
        message="update in progress: promoted",
    )
    tx.update(replace(service, update_status=promoted))
    return service.id


def rebalance_service(tx: Tx, ref: str, now_ns: int) -> str:
    """Has the orchestrator move tasks until the service is spread as well as it can be."""
    service = tx.services.find(ref)
    name, spec = service.spec.annotations.name, service.spec
    if spec.mode is not ServiceMode.REPLICATED:
        raise PreconditionError(
            f"service {name} is not replicated: only tasks of replicated services can be rebalanced"
        )
    if spec.rollout.stopped:
        raise PreconditionError(f"service {name} is stopped: start it with: covey service start {name}")
    status = service.update_status or UpdateStatus()
    if status.awaits_promotion or (status.state in _RUNNING and not status.rebalancing):
        raise PreconditionError(f"service {name} is being updated: rebalance it when the update is over")
    tx.update(replace(service, update_status=begun(now_ns)))
    return service.id
