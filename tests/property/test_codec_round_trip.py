"""Law: an object survives the wire, field by field, whatever it holds."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey import codec
from covey.objects import OBJECT_TYPES
from covey.objects.assignment import NetworkEndpoint, VirtualService
from coveypb.v1 import objects_pb2

TYPES = (*OBJECT_TYPES, NetworkEndpoint, VirtualService)
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def objects(kind: type) -> st.SearchStrategy:
    return st.from_type(kind)


for primitive, strategy in ((int, INT64), (str, TEXT), (float, st.floats(allow_nan=False))):
    st.register_type_strategy(primitive, strategy)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_every_field_survives_the_wire(kind: type) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.builds(kind, **{f.name: st.from_type(f.type) for f in msgspec.structs.fields(kind)}))
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
    import typing

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
