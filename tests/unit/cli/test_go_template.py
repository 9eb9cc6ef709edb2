"""Go templates of ``--format`` render as in docker."""

import pytest

from cli.format.template import Template
from covey.errors import InvalidArgumentError

NODE = {
    "ID": "abc",
    "Spec": {"Role": "manager", "Labels": {"zone": "a", "rack": "1"}, "Availability": "active"},
    "Tags": ["one", "two"],
    "Self": True,
    "Replicas": 3,
    "Nothing": None,
}

CASES = [
    ("{{.ID}}", "abc"),
    ("{{ .Spec.Role }}/{{.Replicas}}", "manager/3"),
    ("{{json .Spec.Labels}}", '{"zone":"a","rack":"1"}'),
    ("{{.Spec.Labels}}", "map[rack:1 zone:a]"),
    ("{{.Tags}}", "[one two]"),
    ("{{range .Tags}}<{{.}}>{{end}}", "<one><two>"),
    ("{{range $k, $v := .Spec.Labels}}{{$k}}={{$v}};{{end}}", "rack=1;zone=a;"),
    ("{{if .Self}}*{{else}}-{{end}}", "*"),
    ("{{if eq .Spec.Role `worker`}}w{{else if eq .Spec.Role `manager`}}m{{else}}?{{end}}", "m"),
    ("{{with .Spec}}{{.Role}}{{end}}", "manager"),
    ('{{index .Spec.Labels "zone"}}', "a"),
    ("{{index .Tags 1}}", "two"),
    ('{{join .Tags ", "}}', "one, two"),
    ("{{len .Tags}}", "2"),
    ("{{.Spec.Role | upper}}", "MANAGER"),
    ('{{printf "%s-%d" .ID .Replicas}}', "abc-3"),
    ("{{.Missing}}", "<no value>"),
    ("{{.Nothing}}", "<nil>"),
    ("a {{- .ID -}} b", "aabcb"),
    ("{{.ID}}\\t{{.Self}}", "abc\ttrue"),
    ("{{range .Tags}}{{$.ID}}{{end}}", "abcabc"),
    ("{{$x := .ID}}{{$x}}{{$x}}", "abcabc"),
    ("{{if and .Self (not .Nothing)}}y{{end}}", "y"),
    ("{{/* a note */}}z", "z"),
    ("{{json .}}", None),
]


@pytest.mark.parametrize(("source", "wanted"), CASES)
def test_a_template_renders_as_in_go(source: str, wanted: str | None) -> None:
    text = Template(source).render(NODE)
    assert wanted is None or text == wanted


@pytest.mark.parametrize(
    "source", ["{{.ID", "{{if .ID}}", "{{nope .ID}}", "{{end}}", "{{.ID.Deep}}", "{{$nobody}}", "{{}}", "{{(.ID}}"]
)
def test_an_invalid_template_is_a_template_error(source: str) -> None:
    with pytest.raises(InvalidArgumentError, match="template"):
        Template(source).render(NODE)
