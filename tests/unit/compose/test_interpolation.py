"""Interpolation of a whole file: which texts, conversion to the key's type, errors with path and place."""

import pytest

from compose.errors import ComposeFileError
from compose.interpolation import InterpolationRules, interpolate
from compose.nodes import plain
from compose.variables import substitute_compose, substitute_stack
from compose.yaml_reader import read_yaml

RULES = InterpolationRules(
    substitute_stack,
    {("services", "*", "read_only"): "boolean", ("services", "*", "deploy", "replicas"): "integer"},
)


def test_texts_are_substituted_and_converted_and_keys_are_kept() -> None:
    text = (
        "x-a: $A\nservices:\n  $A:\n    read_only: ${ON:-Yes}\n    image: i:$A\n    deploy: {replicas: '$N', x: '$N'}\n"
    )
    result = plain(interpolate(read_yaml(text, "f"), {"A": "b", "N": "3"}, RULES))
    assert result == {
        "x-a": "b",
        "services": {"$A": {"read_only": True, "image": "i:b", "deploy": {"replicas": 3, "x": "3"}}},
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "read_only: ${X:-1}",
            "f:3:16: error while interpolating services.a.read_only: failed to cast to expected type: invalid boolean: 1",
        ),
        (
            "image: [b, $]",
            'f:3:16: invalid interpolation format for services.a.image.1: "$"; you may need to escape any $ with another $',
        ),
        (
            "image: ${X:?m}",
            (
                'f:3:12: invalid interpolation format for services.a.image: "required variable X is missing a value: m"; you may need to '
                "escape any $ with another $"
            ),
        ),
    ],
)
def test_an_error_names_path_and_place(value: str, message: str) -> None:
    with pytest.raises(ComposeFileError) as caught:
        interpolate(read_yaml(f"services:\n  a:\n    {value}", "f"), {}, RULES)
    assert caught.value.message == message


def test_a_default_is_substituted_where_the_rules_say_so() -> None:
    rules = InterpolationRules(substitute_compose, {})
    assert plain(interpolate(read_yaml("name: ${U:-$A}", "f"), {"A": "b"}, rules)) == {"name": "b"}
