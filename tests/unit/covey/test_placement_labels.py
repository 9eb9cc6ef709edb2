"""The labels of placement: affinity, maximal skew and priority, read and refused."""

import re

import pytest

from covey.errors import InvalidArgumentError
from covey.objects import Affinity, MaxSkew
from covey.service_options.affinity import format_target, parse_affinities, parse_anti_affinities
from covey.service_options.labels import check_labels
from covey.service_options.max_skew import parse_max_skews
from covey.service_options.priority import parse_priority


def test_terms_name_services_by_name_or_label_a_scope_and_whether_they_are_preferred() -> None:
    assert parse_affinities("db; label:tier=a,b@x@node.labels.Zone ,preferred;cache@node") == (
        Affinity(service="db"),
        Affinity(label="tier", value="a,b@x", scope="node.labels.Zone", preferred=True),
        Affinity(service="cache"),
    )
    (term,) = parse_anti_affinities("web@ENGINE.labels.rack")
    assert term == Affinity(service="web", scope="engine.labels.rack", apart=True)
    assert format_target(term) == "web@engine.labels.rack"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("db;;web", "'' names no service"),
        ("db@zone", "scope 'zone' of db is none"),
        ("db@node.labels.", "scope 'node.labels.' of db is none"),
        ("db,soft", "'soft' of db is not preferred"),
        ("label:tier", "names no label and value"),
        ("label:=x", "names no label and value"),
        ("a b", "'a b' names no service"),
        ("db;db@node,preferred", "db@node is given twice"),
        (";".join(f"s{number}" for number in range(33)), "33 terms are given, the limit is 32"),
    ],
)
def test_a_malformed_term_is_refused_with_the_label_and_the_form(text: str, words: str) -> None:
    for label in ("covey.affinity", "covey.anti-affinity"):
        with pytest.raises(InvalidArgumentError, match=f"label {label}: .*{re.escape(words)}.*; write SERVICE or"):
            check_labels({label: text})


def test_a_skew_has_a_number_and_perhaps_a_label() -> None:
    assert parse_max_skews("2; 1@node.labels.zone") == (MaxSkew(limit=2), MaxSkew(limit=1, scope="node.labels.zone"))


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "1@zone", "1@", "1;2", "9999999999999", "²"])
def test_a_malformed_skew_is_refused_by_its_label(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="label covey.spread.max-skew: "):
        check_labels({"covey.spread.max-skew": text})


def test_a_priority_is_a_whole_number() -> None:
    assert [parse_priority(text) for text in ("", "0", " -1000", "+1000")] == [0, 0, -1000, 1000]
    for text in ("1001", "high", "1.5", "1e2", "٣"):
        with pytest.raises(InvalidArgumentError, match="label covey.priority: .* from -1000 to 1000"):
            check_labels({"covey.priority": text})
