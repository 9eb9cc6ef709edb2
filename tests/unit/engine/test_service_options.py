"""``Options`` of a service spec become labels."""

import pytest

from covey.errors import InvalidArgumentError
from engine.translate.service import read_spec

BODY = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "web"}}}


def test_an_option_becomes_a_label() -> None:
    spec = read_spec({**BODY, "Labels": {"a": "b"}, "Options": {"depends-on": "db"}})
    assert spec.annotations.labels == {"a": "b", "covey.depends-on": "db"}


def test_an_option_that_contradicts_its_label_is_refused() -> None:
    with pytest.raises(
        InvalidArgumentError, match="Options.depends-on: 'db' is not what the label covey.depends-on says"
    ):
        read_spec({**BODY, "Labels": {"covey.depends-on": "cache"}, "Options": {"depends-on": "db"}})
