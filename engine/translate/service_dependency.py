"""``DependsOn`` of a service: what it depends on, which Docker has no field for. Pure.

The label `covey.depends-on` carries it, because an update by Docker's clients drops keys of a spec that they do not know. A spec may
have `DependsOn` instead of the label; a service shows it beside its spec.
"""

from covey.errors import InvalidArgumentError
from covey.objects import ServiceDependency, ServiceSpec, replace
from covey.service_dependencies import CONDITIONS, DEPENDS_ON_LABEL, format_dependencies, parse_dependencies
from engine.translate.field_table import FLAG, TEXT, FieldTable, Row, choice
from engine.translate.json_fields import JsonFields

DEPENDENCY = FieldTable(
    ServiceDependency,
    (
        Row(key="Service", field="service", codec=TEXT, required="{path} is required: the name of a service"),
        Row(key="Condition", field="condition", codec=choice(CONDITIONS), always=True),
        Row(key="Restart", field="restart", codec=FLAG),
        Row(key="Optional", field="optional", codec=FLAG),
    ),
)
_KEYS = frozenset({"service", "condition", "restart", "optional"})


def read_dependency(fields: JsonFields) -> ServiceDependency:
    """One item of `DependsOn`. No client of Docker sends it, so an unknown key, such as Compose's `required`, is a mistake."""
    for name in fields.names():
        if name.casefold() not in _KEYS:
            raise InvalidArgumentError(
                f"{fields.path_of(name)} is unknown; use Service, Condition, Restart and Optional"
            )
    return DEPENDENCY.read(fields)


def with_dependency_label(spec: ServiceSpec) -> ServiceSpec:
    """The spec with the label that its `DependsOn` means.

    Raises:
        InvalidArgumentError: the label says something else, or a name cannot be that of a service.
    """
    if not spec.depends_on:
        return spec
    labels = spec.annotations.labels
    text = labels.get(DEPENDS_ON_LABEL, format_dependencies(spec.depends_on))
    if parse_dependencies(text) != spec.depends_on:
        raise InvalidArgumentError(
            f"DependsOn: {format_dependencies(spec.depends_on)} is not what the label {DEPENDS_ON_LABEL} says: give one of them, with "
            "names of services"
        )
    annotations = replace(spec.annotations, labels={**labels, DEPENDS_ON_LABEL: text})
    return replace(spec, annotations=annotations)
