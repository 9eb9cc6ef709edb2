"""Whatever a client writes as a template is rendered within the limits, or refused as an invalid argument."""

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.errors import InvalidArgumentError
from covey.go_template import Limits, Template
from covey.objects import Annotations, Task
from covey.placeholders import FUNCTIONS, NodeFacts, sample_values, task_values

TASK = Task(id="t", slot=1, service_annotations=Annotations(name="web", labels={"a": "b", "c": "d"}))
VALUES = task_values(TASK, NodeFacts("n", "east", labels={"zone": "a"}))
LIMITS = Limits(characters=2000, steps=500)
words = st.sampled_from(
    [
        *FUNCTIONS, "if", "else", "end", "range", "with", "nil", "true", "$", "$x", "$x.A", ":=", "=", "|", ",", "(", ")",
        ".", ".Task.Slot", ".Service.Labels", ".Service", ".Nope", '"%s%d%5v%q"', '"%2000d"', "`a`", "1", "-2", "1.5",
        "99999999999999999999", '"\\ud800"', "/*", "*/", "-", "é", "\0", '"', "`", "'x'",
    ]
)  # fmt: skip
actions = st.lists(words, max_size=6).map(lambda inside: f"{{{{{' '.join(inside)}}}}}")
whole = st.sampled_from(
    ["{{if .Task}}", "{{end}}", "{{else}}", "{{range $x, $y := .Service.Labels}}", "{{$x := print .Task}}", "{{- . -}}",
     "{{$x = print $x $x}}", "{{with .Node}}", "text", "{{", "}}", "{{/* c */}}", "\n"]
)  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.one_of(actions, whole), max_size=12).map("".join))
def test_a_template_is_rendered_within_its_limits_or_refused(source: str) -> None:
    try:
        template = Template(source, FUNCTIONS, strict=True)
        text = template.render(VALUES, limits=LIMITS)
    except InvalidArgumentError:
        return
    assert len(text) <= LIMITS.characters
    assert len(text.encode()) >= len(text)
    assert all(isinstance(path, tuple) for path in template.root_paths())
    assert isinstance(list(template.literal_calls()), list)
    assert sample_values(TASK)
