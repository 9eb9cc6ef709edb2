"""Templates of clients are bounded, and refused where Go's parser refuses them."""

import pytest

from covey.errors import InvalidArgumentError
from covey.go_template import BUILTINS, GoStruct, Limits, Template

SMALL = Limits(characters=10_000, steps=1000)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ('{{printf "%05d|%-4s|%q|%x|%.2f|%t" 42 "a" "b" "hi" 1.5 true}}', '00042|a   |"b"|6869|1.50|true'),
        ('{{printf "%d" "x"}} {{printf "%s"}} {{printf "a" 1}}', "%!d(string=x) %!s(MISSING) a%!(EXTRA int=1)"),
        ('{{$x := "a"}}{{if true}}{{$x = "b"}}{{end}}{{$x}}', "b"),
        ('{{$x := "a"}}{{if true}}{{$x := "b"}}{{end}}{{$x}}', "a"),
        ("{{if and .No (index .List 9)}}yes{{else}}no{{end}}", "no"),
        ("{{or .No .Name}}", "web"),
        ("{{with .Name}}{{.}}-{{$.Name}}{{else with .Other}}{{.}}{{end}}", "web-web"),
        ("{{range $i, $v := .List}}{{$i}}{{$v}}{{else}}none{{end}}", "0a1b"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{(index .Maps 0).key}}", "value"),
        ('{{slice .Name 1 3}} {{len .Name}} {{index .List 1}} {{print 1 2 "a"}}', "eb 3 b 1 2a"),
        ('{{html "<a>"}} {{urlquery "a b"}} {{js "it\'s"}}', "&lt;a&gt; a+b it\\'s"),
        ('{{"}}"}}{{/* {{x}} */}}{{- "!" -}} ', "}}!"),
        ("{{lt 1 2}} {{ge 1 2}} {{ne `a` `b`}} {{eq 1 2 1}}", "true false true true"),
    ],
)
def test_a_template_renders_as_in_go(source: str, wanted: str) -> None:
    value = {"Name": "web", "No": False, "List": ["a", "b"], "Empty": [], "Maps": [{"key": "value"}]}
    assert Template(source).render(value) == wanted


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{nope .A}}", 'function "nope" not defined'),
        ("{{if .A}}{{nope}}{{end}}", 'function "nope" not defined'),
        ("{{$y}}", "undefined variable"),
        ("{{if true}}{{$x := 1}}{{end}}{{$x}}", "undefined variable"),
        ("{{.A | .B}}", "non-function"),
        ("{{define `x`}}{{end}}", "{{define}} is not supported"),
        ("{{/* open", "unclosed comment"),
        (r'{{"\ud800"}}', "invalid string"),
        ("{{ .my-label }}", "unexpected"),
        ("{{if true}}" * 200 + "{{end}}" * 200, "nested deeper than"),
        ("{{if true}}" + "{{else if true}}" * 200 + "{{end}}", "nested deeper than"),
        ("{{" + "(" * 200 + ".A" + ")" * 200 + "}}", "nested deeper than"),
        ("{{.}}" * 100_000, "more than 50000 words"),
        ("{{" * 250_000, "unexpected"),
        (f"{{{{{'9' * 5000}}}}}", "template parsing error"),
    ],
)
def test_what_go_refuses_or_nobody_needs_is_refused_when_it_is_parsed(source: str, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        Template(source)


DOUBLED = "{{$x := `aaaa`}}" + "{{$x = print $x $x}}" * 60
NESTED = "{{range .Labels}}" * 12 + "x" + "{{end}}" * 12


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (DOUBLED, "larger than 10000 characters"),
        (NESTED.replace(".Labels", "$.Labels"), "more than 1000 steps"),
        ('{{printf "%99999999d" 1}}', "the width in"),
        ("{{range 1000000000}}x{{end}}", "can't iterate"),
        ("{{eq .Slot 1}}", "incompatible types"),
        ("{{index .Slot 99}}", "out of range"),
    ],
)
def test_no_template_takes_more_time_or_memory_than_its_limits(source: str, words: str) -> None:
    value = {"Labels": {str(n): "v" for n in range(10)}, "Slot": "1"}
    with pytest.raises(InvalidArgumentError, match=words):
        Template(source).render(value, limits=SMALL)


def test_a_strict_template_refuses_missing_keys_and_names_the_fields_of_a_struct() -> None:
    value = GoStruct(Task=GoStruct(ID="1", Slot="2"), Labels={"a": "b"})
    assert Template("{{.Task.Slot}}{{.Labels.a}}", strict=True).render(value) == "2b"
    with pytest.raises(InvalidArgumentError, match=r"field Colour in \.Task\.Colour: the fields are ID, Slot"):
        Template("{{.Task.Colour}}").render(value)
    with pytest.raises(InvalidArgumentError, match='map has no entry for key "b"'):
        Template("{{.Labels.b}}", strict=True).render(value)


def test_what_a_template_refers_to_is_known_in_all_its_branches() -> None:
    functions = {**BUILTINS, "secret": str}
    source = '{{if false}}{{.A.B}}{{end}}{{with .C}}{{.D}}{{$.E}}{{end}}{{print (secret "x") (secret .F)}}'
    template = Template(source, functions)
    assert set(template.root_paths()) == {("A", "B"), ("C",), ("E",), ("F",)}
    assert list(template.literal_calls()) == [("secret", ("x",))]
