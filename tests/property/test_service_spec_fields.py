"""Fields of the service spec: each has its row in every table, and each container field reaches the container.

This walks the checklist "A new field of the service spec" of CONTRIBUTING.md.
"""

import contextlib
import typing
from enum import IntEnum
from typing import Any

import msgspec
import pytest

from agent.container.model import ContainerConfig
from agent.image.model import Image, ImageConfig
from agent.task.container_config import container_config
from cli.parse.service_flags import FLAGS, LISTS
from covey.errors import InvalidArgumentError
from covey.objects import ContainerSpec, Mount, Task, TaskSpec, replace
from covey.placeholders import NodeFacts
from covey.states import MountType
from engine.translate.service import SERVICE_SPEC

SPEC_FLAGS = [flag for flag in (*FLAGS, *LISTS) if flag.path]
SAMPLES = {
    "env": ("A=1",),
    "hosts": ("10.0.0.1 a",),
    "mounts": (Mount(type=MountType.VOLUME, source="v", target="/v"),),
    "security_options": ("seccomp=unconfined",),
}
FILES = {"secrets", "configs", "registry_auth", "post_start", "pre_stop"}  # what the worker uses besides the container
"""The worker puts these into the container as files, beside its configuration."""


@pytest.mark.parametrize("flag", SPEC_FLAGS, ids=lambda flag: flag.name)
def test_every_flag_sets_a_field_that_the_api_knows(flag: Any) -> None:
    body: Any = [
        "x"
    ]  # a wrong type of most fields, which InvalidArgumentError tells; an unknown one gives UnsupportedError
    for key in reversed(flag.path):
        body = {key: body}
    with contextlib.suppress(InvalidArgumentError):
        SERVICE_SPEC.from_json(body)


@pytest.mark.parametrize("field", msgspec.structs.fields(ContainerSpec), ids=lambda field: field.name)
def test_every_field_of_a_container_spec_changes_the_container_or_is_a_file(field: msgspec.structs.FieldInfo) -> None:
    spec = ContainerSpec(image="busybox", command=("sleep",))
    changed = replace(spec, **{field.name: SAMPLES.get(field.name) or _sample(field.type)})
    assert changed != spec
    assert (_container(changed) != _container(spec)) is (field.name not in FILES)


def _container(spec: ContainerSpec) -> ContainerConfig:
    image = Image(
        id=f"sha256:{'0' * 64}", repo_tags=(), repo_digests=(), created="", size=0, architecture="amd64", os="linux",
        config=ImageConfig(), diff_ids=(), layer_sizes=(),
    )  # fmt: skip
    return container_config(Task(id="t", spec=TaskSpec(container=spec)), image, NodeFacts("n", "host"), "c", 1)


def _sample(annotation: Any) -> Any:
    """A value of the type that differs from every default."""
    arguments, origin = typing.get_args(annotation), typing.get_origin(annotation)
    if origin is tuple:
        return (_sample(arguments[0]),)
    if origin is dict:
        return {_sample(arguments[0]): _sample(arguments[1])}
    if arguments:
        return _sample(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, IntEnum):
        return list(annotation)[1]
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation(**{field.name: _sample(field.type) for field in msgspec.structs.fields(annotation)})
    return {int: 7, str: "x", float: 0.5, bytes: b"x", bool: True}[annotation]
