"""Labels that say how a service's tasks are run and moved: their values, and what contradicts one another."""

import pytest

from covey.clock import MINUTE, SECOND
from covey.drain_timeout import DEFAULT_DRAIN_TIMEOUT_NS, drain_timeout_ns
from covey.errors import InvalidArgumentError
from covey.objects import RolloutOptions
from covey.service_options.labels import check_labels
from covey.service_options.rollout import rollout_options


def options(*, is_job: bool = False, is_global: bool = False, **labels: str) -> RolloutOptions:
    named = {f"covey.{name.replace('__', '.').replace('_', '-')}": text for name, text in labels.items()}
    check_labels(named)
    return rollout_options(named, is_job=is_job, is_global=is_global)


def test_labels_become_options() -> None:
    assert options() == RolloutOptions()
    assert options(stopped="", rebalance="off") == RolloutOptions()
    assert options(stopped="true") == RolloutOptions(stopped=True)
    assert options(rebalance="auto") == RolloutOptions(rebalance=True, rebalance_after_ns=30 * SECOND)
    assert options(rebalance="auto", rebalance_after="2m").rebalance_after_ns == 2 * MINUTE
    canaries = options(update__canary="2", update__canary_monitor="1m")
    assert canaries == RolloutOptions(canaries=2, canary_monitor_ns=MINUTE)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"stopped": "yes"}, "label covey.stopped: 'yes' is unknown; write true or false"),
        ({"rebalance": "always"}, "label covey.rebalance: 'always' is unknown; write auto or off"),
        ({"rebalance_after": "10s"}, "covey.rebalance-after means nothing without covey.rebalance"),
        ({"rebalance": "auto", "rebalance_after": "soon"}, "label covey.rebalance-after: invalid duration"),
        ({"update__canary": "0"}, "label covey.update.canary: '0' is not a number of tasks"),
        ({"update__canary": "٣"}, "label covey.update.canary"),
        ({"update__canary_monitor": "1s"}, "covey.update.canary-monitor means nothing without covey.update.canary"),
        ({"update__canaries": "1"}, "label covey.update.canaries is not known: did you mean covey.update.canary?"),
    ],
)
def test_what_is_malformed_or_means_nothing_is_refused_by_name(labels: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        options(**labels)
    assert message in refused.value.message


def test_modes_without_such_tasks_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="label covey.stopped: a job has no tasks that stay"):
        options(is_job=True, stopped="true")
    with pytest.raises(InvalidArgumentError, match="label covey.rebalance: a global service has a task on every node"):
        options(is_global=True, rebalance="auto")


def test_a_drain_has_a_timeout_of_ten_minutes_or_what_the_node_says() -> None:
    assert drain_timeout_ns({}) == DEFAULT_DRAIN_TIMEOUT_NS == 10 * MINUTE
    assert drain_timeout_ns({"covey.drain.timeout": "0s"}) == 0
    with pytest.raises(InvalidArgumentError, match="label covey.drain.timeout: invalid duration 'never'"):
        drain_timeout_ns({"covey.drain.timeout": "never"})
