"""Round trip of Engine API JSON: an object that a client reads and sends back unchanged is the same object."""

import functools
import typing
from enum import IntEnum

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from covey.objects import ClusterSpec, ConfigSpec, NetworkSpec, NodeSpec, Resources, SecretSpec, ServiceSpec, replace
from covey.objects.base import Driver
from covey.states import ServiceMode
from engine.translate import network, node, secret, service, swarm
from engine.translate.field_table import Custom

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
COUNT = st.integers(0, 2**62)
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def values(annotation: object) -> st.SearchStrategy:
    arguments, origin = typing.get_args(annotation), typing.get_origin(annotation)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=2)
    if arguments:
        return st.one_of(*[values(argument) for argument in arguments])
    if isinstance(annotation, type) and issubclass(annotation, IntEnum):
        return st.sampled_from(annotation)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return st.deferred(lambda: objects(annotation))
    return {int: COUNT, str: TEXT, float: st.floats(0, 1), bytes: st.binary(max_size=8), bool: st.booleans()}.get(
        annotation, st.none()
    )


@functools.cache
def objects(kind: type) -> st.SearchStrategy:
    return st.builds(kind, **{field.name: values(field.type) for field in msgspec.structs.fields(kind)})


OPTIONS = ("label=disable", "label=user:u", "seccomp={}", "apparmor=unconfined")


def _named(resources: Resources | None) -> Resources | None:
    return resources and replace(
        resources, named_generic=tuple(f"{text.replace('=', '')}k={text}" for text in resources.named_generic)
    )


def _told_by_labels(spec: ServiceSpec) -> dict[str, object]:
    """The fields that labels fill in, as they are without labels."""
    entries = [entry for entry in service.SERVICE_SPEC.entries if isinstance(entry, Custom) and not entry.write(spec)]
    names = {name for entry in entries for name in entry.fields} - {"service_networks"}
    return {name: getattr(ServiceSpec(), name) for name in names}


def possible(spec: ServiceSpec) -> ServiceSpec:
    """A spec as a client can write it: counts belong to modes, security options and named resources have a form, and what labels mean
    is not beside them.
    """
    container, resources, placement = spec.task.container, spec.task.resources, spec.task.placement
    container = replace(
        container,
        security_options=tuple(OPTIONS[: len(container.security_options)]),
        registry_auth="",
        privileged=False,
        devices=(),
        post_start=(),
        pre_stop=(),
    )
    if resources is not None:
        resources = replace(resources, limits=_named(resources.limits), reservations=_named(resources.reservations))
    spec = replace(
        spec,
        task=replace(
            spec.task,
            container=container,
            resources=resources,
            placement=placement and replace(placement, affinities=(), max_skews=(), priority=0),
        ),
        service_networks=spec.service_networks and bool(spec.task.networks),
        **_told_by_labels(spec),
    )
    if spec.mode is ServiceMode.REPLICATED:
        return replace(spec, max_concurrent=0, total_completions=0)
    if spec.mode is ServiceMode.REPLICATED_JOB:
        return replace(spec, replicas=1)
    return replace(spec, replicas=1, max_concurrent=0, total_completions=0)


@SETTINGS
@given(objects(ServiceSpec).map(possible))
def test_a_service_spec_survives_writing_and_reading(spec: ServiceSpec) -> None:
    assert service.read_spec(service.write_spec(spec)) == spec


@SETTINGS
@given(objects(ServiceSpec).map(possible))
def test_showing_defaults_changes_nothing_that_was_set(spec: ServiceSpec) -> None:
    shown = service.read_spec(service.write_spec(service.with_defaults(spec)))
    assert shown.annotations == spec.annotations
    assert shown.task.container.image == spec.task.container.image
    for field in ("update", "rollback", "endpoint"):
        if getattr(spec, field) is not None:
            assert getattr(shown, field) == getattr(spec, field)


@SETTINGS
@given(objects(NodeSpec))
def test_a_node_spec_survives_writing_and_reading(spec: NodeSpec) -> None:
    assert node.read_spec(node.write_spec(spec)) == spec


@SETTINGS
@given(objects(NetworkSpec))
def test_a_network_spec_survives_writing_and_reading(spec: NetworkSpec) -> None:
    overlay = replace(spec, driver=Driver(name="overlay", options=spec.driver.options))
    assert network.read_spec(network.write_spec(overlay)) == overlay


def without_zeros(spec: ClusterSpec) -> ClusterSpec:
    """Zero asks for the default, so a spec with zeros is never what is stored, nor are signing keys; certificates are text."""
    raft = {f.name: max(1, getattr(spec.raft, f.name)) for f in msgspec.structs.fields(type(spec.raft))}
    external = tuple(
        replace(one, protocol=one.protocol or "cfssl", ca_cert=one.ca_cert.hex().encode())
        for one in spec.ca.external_cas
    )
    ca = replace(
        spec.ca,
        node_cert_expiry_ns=max(1, spec.ca.node_cert_expiry_ns),
        signing_cert=b"",
        signing_key=b"",
        external_cas=external,
    )
    return replace(spec, raft=replace(spec.raft, **raft), ca=ca, heartbeat_period_ns=max(1, spec.heartbeat_period_ns))


@SETTINGS
@given(objects(ClusterSpec).map(without_zeros))
def test_a_cluster_spec_survives_writing_and_reading(spec: ClusterSpec) -> None:
    assert swarm.read_spec(swarm.write_spec(spec)) == spec


@SETTINGS
@given(objects(ConfigSpec), objects(SecretSpec))
def test_a_config_survives_writing_and_reading_and_a_secret_loses_its_data(
    config: ConfigSpec, hidden: SecretSpec
) -> None:
    assert secret.read_config(secret.write_config_spec(config)) == config
    written = secret.write_secret_spec(hidden)
    assert "Data" not in written
    assert secret.read_secret(written) == replace(hidden, data=b"")
