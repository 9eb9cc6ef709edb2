"""``Options`` of a service: options that Docker has no field for, by their names without the prefix `covey.`. Pure.

A label of the service carries each of them, because an update by Docker's clients drops keys of a spec that they do not know. A spec may
have `{"Options": {"schedule": "*/5 * * * *"}}` instead of the label `covey.schedule`.
"""

from covey.errors import InvalidArgumentError
from covey.objects import ServiceSpec, replace
from covey.service_options.labels import PREFIX
from engine.translate.json_fields import JsonFields


def with_option_labels(spec: ServiceSpec, fields: JsonFields) -> ServiceSpec:
    """The spec with the labels that its `Options` mean.

    Raises:
        InvalidArgumentError: a label says something else.
    """
    labels = dict(spec.annotations.labels)
    for name, value in fields.text_map("Options").items():
        if labels.setdefault(PREFIX + name, value) != value:
            raise InvalidArgumentError(
                f"Options.{name}: {value!r} is not what the label {PREFIX + name} says: give one of them"
            )
    if labels == spec.annotations.labels:
        return spec
    return replace(spec, annotations=replace(spec.annotations, labels=labels))
