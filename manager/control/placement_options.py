"""The options of placement that are labels: affinity, maximal skew and priority, as parts of the stored placement. Pure.

Invariant: a stored service can be placed as far as its labels alone decide: they contradict neither each other nor its mode.
"""

from covey.errors import InvalidArgumentError
from covey.objects import Affinity, MaxSkew, Placement, ServiceSpec, replace
from covey.service_options.affinity import affinities_of, label_of, parse_scope
from covey.service_options.max_skew import MAX_SKEW_LABEL, parse_max_skews
from covey.service_options.priority import PRIORITY_LABEL, parse_priority
from manager.control.affinity_validation import require_satisfiable
from manager.store import View


def resolved_placement(view: View, spec: ServiceSpec) -> Placement | None:
    """The placement of a spec, with what its labels add.

    Raises:
        InvalidArgumentError: a label is malformed or contradicts the mode, another label or another service; the message names it.
    """
    labels = spec.annotations.labels
    affinities = affinities_of(labels)
    skews = _with_scopes(parse_max_skews(labels.get(MAX_SKEW_LABEL, "")), spec.task.placement or Placement())
    priority = parse_priority(labels.get(PRIORITY_LABEL, ""))
    _require_choice_of_nodes(spec, affinities, skews)
    require_satisfiable(view, spec.annotations, affinities)
    before = spec.task.placement or Placement()
    after = replace(before, affinities=affinities, max_skews=skews, priority=priority)
    return spec.task.placement if after == before else after


def _with_scopes(skews: tuple[MaxSkew, ...], placement: Placement) -> tuple[MaxSkew, ...]:
    found: dict[str, MaxSkew] = {}
    for skew in skews:
        scope = skew.scope or next((known for text in placement.preferences if (known := parse_scope(text))), "")
        if not scope:
            raise InvalidArgumentError(
                f"label {MAX_SKEW_LABEL}: the service has no placement preference for a label of nodes: "
                f"write {skew.limit}@node.labels.NAME or give one"
            )
        if scope in found:
            raise InvalidArgumentError(f"label {MAX_SKEW_LABEL}: two numbers are given for {scope}: give one of them")
        found[scope] = replace(skew, scope=scope)
    return tuple(found.values())


def _require_choice_of_nodes(spec: ServiceSpec, affinities: tuple[Affinity, ...], skews: tuple[MaxSkew, ...]) -> None:
    """A global service cannot choose its nodes by what runs there."""
    if not spec.mode.is_global or not (affinities or skews):
        return
    label = label_of(affinities[0]) if affinities else MAX_SKEW_LABEL
    raise InvalidArgumentError(
        f"label {label}: a {spec.mode.name.lower().replace('_', '-')} service has a task on each node: "
        "use placement constraints, or another mode"
    )
