"""Converts objects to protobuf messages and back: one generic codec, compiled once for each type from the struct's fields.

Invariant: a struct and its message have the same field names, and ``from_wire(to_wire(x)) == x``. A property test checks both for every
type.

Called by the store, the dispatcher, the control API and the agent's session.
"""

import types
import typing
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from typing import Any, TypeVar

import msgspec
from google.protobuf.message import Message

from coveypb.v1 import objects_pb2

S = TypeVar("S", bound=msgspec.Struct)

_Write = Callable[[Any, Any], None]
_Read = Callable[[Any], Any]
_Put = Callable[[Any, str, Any], None]


def to_wire(item: msgspec.Struct) -> Any:
    """The protobuf message of an object."""
    message = _message_class(type(item).__name__)()
    _writer(type(item))(item, message)
    return message


def write(item: msgspec.Struct, message: Message) -> None:
    """Fill an empty message, such as a field of a request, with an object."""
    _writer(type(item))(item, message)


def from_wire(kind: type[S], message: Message) -> S:
    """The object of a protobuf message.

    Raises:
        ValueError: an enumeration has a number that this version does not know.
    """
    return typing.cast("S", _reader(kind)(message))


def encode(item: msgspec.Struct) -> bytes:
    """An object as protobuf bytes."""
    return typing.cast("bytes", to_wire(item).SerializeToString())


def decode(kind: type[S], data: bytes) -> S:
    """An object from protobuf bytes."""
    return from_wire(kind, _message_class(kind.__name__).FromString(data))


def _message_class(name: str) -> Any:
    return getattr(objects_pb2, name)


@cache
def _writer(kind: type[msgspec.Struct]) -> _Write:
    fields = msgspec.structs.fields(kind)
    plain = [field.name for field in fields if _is_plain(field.type)]
    others = [(field.name, _field_writer(field.type)) for field in fields if field.name not in plain]

    def write_struct(item: Any, message: Any) -> None:
        for name in plain:
            value = getattr(item, name)
            if value:  # an unset field reads as 0, "" or False
                setattr(message, name, value)
        for name, put in others:
            value = getattr(item, name)
            if value is not None:
                put(message, name, value)

    return write_struct


def _is_plain(annotation: Any) -> bool:
    """Whether it is a scalar that is never None."""
    return isinstance(annotation, type) and issubclass(annotation, str | bytes | int | float)


def _field_writer(annotation: Any) -> _Put:
    inner = _without_none(annotation)
    origin = typing.get_origin(inner)
    if origin is tuple:
        return _repeated_writer(typing.get_args(inner)[0])
    if origin is dict:
        return _put_map
    if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
        return _struct_writer(inner)
    return setattr


def _repeated_writer(element: Any) -> _Put:
    if not (isinstance(element, type) and issubclass(element, msgspec.Struct)):
        return _put_scalars

    def put(message: Any, name: str, value: Any) -> None:
        if value:
            write_element, field = _writer(element), getattr(message, name)
            for item in value:
                write_element(item, field.add())

    return put


def _struct_writer(kind: type[msgspec.Struct]) -> _Put:
    def put(message: Any, name: str, value: Any) -> None:
        field = getattr(message, name)
        field.SetInParent()
        _writer(kind)(value, field)

    return put


def _put_scalars(message: Any, name: str, value: Any) -> None:
    if value:
        getattr(message, name).extend(value)


def _put_map(message: Any, name: str, value: Any) -> None:
    if value:
        getattr(message, name).update(value)


@cache
def _reader(kind: type[msgspec.Struct]) -> _Read:
    fields = [(field.name, _field_reader(field.name, field.type)) for field in msgspec.structs.fields(kind)]

    def read(message: Any) -> Any:
        return kind(**{name: take(message) for name, take in fields})

    return read


def _field_reader(name: str, annotation: Any) -> _Read:
    inner = _without_none(annotation)
    optional = inner is not annotation
    origin = typing.get_origin(inner)
    if origin is tuple:
        return _repeated_reader(name, typing.get_args(inner)[0])
    if origin is dict:
        return lambda message: dict(getattr(message, name))
    if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
        return _struct_reader(name, inner, optional=optional)
    if isinstance(inner, type) and issubclass(inner, IntEnum):
        return lambda message: inner(getattr(message, name))
    if optional:
        return lambda message: getattr(message, name) if message.HasField(name) else None
    return lambda message: getattr(message, name)


def _repeated_reader(name: str, element: Any) -> _Read:
    if not (isinstance(element, type) and issubclass(element, msgspec.Struct)):
        return lambda message: tuple(getattr(message, name))

    def take(message: Any) -> tuple[Any, ...]:
        items = getattr(message, name)
        if not items:
            return ()
        read = _reader(element)
        return tuple([read(item) for item in items])

    return take


def _struct_reader(name: str, kind: type[msgspec.Struct], *, optional: bool) -> _Read:
    absent = None if optional else _all_defaults(kind)

    def take(message: Any) -> Any:
        if not message.HasField(name):
            return absent
        return _reader(kind)(getattr(message, name))

    return take


def _all_defaults(kind: type[msgspec.Struct]) -> Any:
    """The value of a struct whose message is absent, as in data from before the field existed."""
    required = any(field.required for field in msgspec.structs.fields(kind))
    return None if required else kind()


def _without_none(annotation: Any) -> Any:
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) in {types.UnionType, typing.Union} and types.NoneType in arguments:
        return next(argument for argument in arguments if argument is not types.NoneType)
    return annotation
