"""Labels with Covey's prefix are checked as strictly as fields."""

import pytest

from covey.errors import InvalidArgumentError
from covey.service_options.labels import check_labels


def test_labels_of_other_prefixes_are_not_looked_at() -> None:
    check_labels({"com.example.depends": "?", "coveyor": "", "covey.stack.key": "web"})


def test_an_unknown_label_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(
        InvalidArgumentError, match="label covey.depend-on is not known: did you mean covey.depends-on?"
    ):
        check_labels({"covey.depend-on": "db"})


def test_a_malformed_value_names_its_label() -> None:
    with pytest.raises(InvalidArgumentError, match="label covey.depends-on: condition 'up' of db"):
        check_labels({"covey.depends-on": "db:up"})


def test_an_empty_value_is_an_option_that_is_not_set() -> None:
    check_labels({"covey.depends-on": ""})
