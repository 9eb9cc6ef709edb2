"""Dry runs of service requests: the validation of the real request, in a transaction that is never stored. Pure."""

from __future__ import annotations

from covey.codec import from_wire
from covey.errors import NotFoundError
from covey.explanation import ServiceDryRun
from covey.ids import IdSource
from covey.objects import ServiceSpec
from coveypb.v1 import explanation_pb2
from manager.control import services
from manager.explain.dry_run import rehearse_change
from manager.scheduler.spread import ImageNodes, no_image_nodes
from manager.store import Tx, View


def dry_run(
    view: View,
    request: explanation_pb2.ServiceDryRunRequest,
    now_ns: int,
    ids: IdSource,
    image_nodes: ImageNodes = no_image_nodes,
) -> ServiceDryRun:
    """What the request would lead to. Raises what the real request raises."""
    tx = Tx(view)
    if request.rollback:
        service_id = services.roll_back_service(tx, request.ref, request.version, now_ns)
    else:
        spec = from_wire(ServiceSpec, request.spec)
        if request.ref:
            service_id = services.update_service(tx, request.ref, request.version, spec, now_ns)
        else:
            service_id = services.create_service(tx, spec, ids, now_ns)
    service = tx.services.get(service_id)
    if service is None:
        raise NotFoundError(f"service {service_id} not found")
    return rehearse_change(view, service, now_ns, image_nodes)
