import pytest

from covey.errors import ConflictError
from covey.objects import EndpointSpec, PortConfig
from covey.states import Protocol, PublishMode
from manager.allocator.published_ports import check_ports
from tests.support.planning import service, view_of


def publishing(name: str, number: int, **changes):
    return service(name, endpoint=EndpointSpec(ports=(PortConfig(target_port=80, published_port=number, **changes),)))


def test_a_port_of_another_service_is_refused_by_name() -> None:
    view = view_of(publishing("web", 8080))
    with pytest.raises(ConflictError, match="port '8080' is already in use by service 'web'"):
        check_ports(view, publishing("other", 8080).spec)


def test_another_protocol_another_mode_and_ones_own_port_are_no_conflict() -> None:
    view = view_of(publishing("web", 8080))
    check_ports(view, publishing("other", 8080, protocol=Protocol.UDP).spec)
    check_ports(view, publishing("other", 8080, publish_mode=PublishMode.HOST).spec)
    check_ports(view, publishing("web", 8080).spec, "web")
