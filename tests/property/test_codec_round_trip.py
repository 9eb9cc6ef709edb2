"""Round trip of every object through the wire codec: no field is lost or changed."""

import functools
import typing

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from covey import codec
from covey.objects import OBJECT_TYPES
from covey.objects.assignment import NetworkEndpoint, NodeEndpoint, VirtualService
from coveypb.v1 import objects_pb2

TYPES = (*OBJECT_TYPES, NetworkEndpoint, VirtualService, NodeEndpoint)
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


PRIMITIVES = {int: INT64, str: TEXT, float: st.floats(allow_nan=False), bytes: st.binary(max_size=8)}


def values(annotation: object) -> st.SearchStrategy:
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=2)
    if arguments:
        return st.one_of(*[values(argument) for argument in arguments])
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return st.deferred(lambda: objects(annotation))
    return PRIMITIVES[annotation] if annotation in PRIMITIVES else st.from_type(annotation)


@functools.cache
def objects(kind: type) -> st.SearchStrategy:
    """Every field drawn, none left at its default."""
    return st.builds(kind, **{field.name: values(field.type) for field in msgspec.structs.fields(kind)})


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_every_field_survives_the_wire(kind: type) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(objects(kind))
    def survives(item: msgspec.Struct) -> None:
        assert codec.decode(kind, codec.encode(item)) == item

    survives()


def structs(kind: type, seen: dict[str, type]) -> dict[str, type]:
    for field in msgspec.structs.fields(kind):
        for inner in flatten(field.type):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and inner.__name__ not in seen:
                seen[inner.__name__] = inner
                structs(inner, seen)
    return seen


def flatten(annotation: object) -> list:
    return [annotation, *(x for a in typing.get_args(annotation) for x in flatten(a))]


def test_structs_and_messages_have_the_same_fields() -> None:
    seen: dict[str, type] = {}
    for kind in TYPES:
        seen[kind.__name__] = kind
        structs(kind, seen)
    for name, kind in seen.items():
        mine = {field.name for field in msgspec.structs.fields(kind)}
        wire = {field.name for field in getattr(objects_pb2, name).DESCRIPTOR.fields}
        assert mine == wire, name
