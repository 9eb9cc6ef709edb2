"""Substitution of variables in both dialects. The cases were compared with the docker client and with Docker Compose."""

import pytest

from compose.variables import substitute_compose, substitute_stack

VARIABLES = {"A": "va", "B": "", "a": "small"}
ERROR = object()


@pytest.mark.parametrize(
    ("text", "stack", "compose"),
    [
        ("a$$b", "a$b", "a$b"),
        ("$A${A}", "vava", "vava"),
        ("$U${U}", "", ""),
        ("${U:-x$A}", "x$A", "xva"),
        ("${U:-${A}}", "${A}", "va"),
        ("${B:-x}${B-x}", "x", "x"),
        ("${U:-}${U-}", "", ""),
        ("${A?}${A:?m}", "vava", "vava"),
        ("${U?}", ERROR, ERROR),
        ("${B:?must}", ERROR, ERROR),
        ("${B?must}", "", ""),
        ("${A+x}${A:+x}${B:+x}", ERROR, "xx"),
        ("$", ERROR, "$"),
        ("${", ERROR, ERROR),
        ("${}", ERROR, ERROR),
        ("$1", ERROR, "$1"),
        ("${A:x}", ERROR, ERROR),
        ("${A B}", ERROR, ERROR),
        ("${U:-x}y}", "xy}", "xy}"),
        ("$A.b", "va.b", "va.b"),
        ("$é", ERROR, "$é"),
        ("$$$A", "$va", "$va"),
        ("$A?b", "va", "va?b"),
        ("$U:-b", "b", ":-b"),
        ("${ $A", "{ va", ERROR),
    ],
)
def test_texts_are_substituted_as_the_clients_do(text: str, stack: object, compose: object) -> None:
    for substitute, wanted in ((substitute_stack, stack), (substitute_compose, compose)):
        try:
            result: object = substitute(text, VARIABLES)
        except ValueError:
            result = ERROR
        assert result == wanted, substitute.__name__


def test_a_required_variable_is_named_with_its_message() -> None:
    with pytest.raises(ValueError, match="^required variable U is missing a value: set it to va$"):
        substitute_compose("${U:?set it to $A}", VARIABLES)
