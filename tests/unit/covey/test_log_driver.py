"""Log drivers: what a request may say, in Docker's words, and what its options mean."""

import re
from typing import Any

import pytest

from covey.errors import InvalidArgumentError
from covey.log_attributes import details, log_attributes
from covey.log_driver import check_log_driver, check_start, validate_log_config
from covey.log_options import LogPlan, parse_ram_size
from covey.log_tag import LogTag, TagSource
from covey.objects.base import Driver
from covey.syslog_options import SyslogAddress, read_syslog


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("", {}),
        ("json-file", {"max-size": "abc", "max-file": "0", "compress": "zz", "tag": "{{", "labels-regex": "(("}),
        ("json-file", {"mode": "non-blocking", "max-buffer-size": "4m"}),
        ("local", {"max-size": "1m", "max-file": "2", "compress": "false"}),
        ("none", {"bad": "1", "mode": "x"}),
        ("syslog", {"syslog-address": "tcp+tls://1.2.3.4:5", "syslog-tls-ca-cert": "/nope", "cache-max-size": "x"}),
        ("journald", {"tag": "x", "labels": "a", "env": "b", "cache-disabled": "true"}),
    ],
)
def test_what_docker_takes_when_it_creates_a_container(driver: str, options: dict[str, str]) -> None:
    validate_log_config(driver, options)


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("nope", {}, 'error looking up logging plugin nope: plugin "nope" not found'),
        ("", {"x": "1"}, "unknown log opt 'x' for json-file log driver"),
        ("json-file", {"bad": "1"}, "unknown log opt 'bad' for json-file log driver"),
        ("json-file", {"mode": "zz"}, "logger: logging mode not supported: zz"),
        (
            "json-file",
            {"max-buffer-size": "1m"},
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "json-file",
            {"mode": "non-blocking", "max-buffer-size": "zz"},
            "error parsing option max-buffer-size: invalid size: 'zz'",
        ),
        ("local", {"labels": "a"}, "unknown log opt 'labels' for log driver local"),
        ("syslog", {"bad": "1"}, "unknown log opt 'bad' for syslog log driver"),
        ("syslog", {"syslog-address": "foo"}, "syslog-address should be in form proto://address, got foo"),
        (
            "syslog",
            {"syslog-address": "http://foo"},
            "syslog-address should be in form proto://address, got http://foo",
        ),
        ("syslog", {"syslog-facility": "foo"}, "invalid syslog facility"),
        ("syslog", {"syslog-format": "foo"}, "Invalid syslog format"),
        ("journald", {"cache-disabled": "x"}, "invalid value for option cache-disabled: x"),
    ],
)
def test_what_docker_refuses_when_it_creates_a_container(driver: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{re.escape(words)}$"):
        validate_log_config(driver, options)


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("json-file", {"max-size": "abc"}, "invalid size: 'abc'"),
        ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
        ("json-file", {"max-file": "0", "max-size": "1m"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("json-file", {"compress": "zz"}, 'strconv.ParseBool: parsing "zz": invalid syntax'),
        (
            "json-file",
            {"compress": "true"},
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        ("json-file", {"tag": "{{"}, "template: log-tag:1: unclosed action"),
        ("json-file", {"tag": "{{.Nope}}"}, "can't evaluate field Nope in type *logger.Info"),
        ("json-file", {"tag": "{{nope .Name}}"}, 'function "nope" not defined'),
        ("json-file", {"labels-regex": "(("}, "error parsing regexp: "),
        ("local", {"max-file": "1"}, "compression cannot be enabled when max file count is 1"),
        ("local", {"max-size": "x"}, "invalid value for max-size: x: invalid size: 'x'"),
        ("syslog", {"cache-max-file": "x"}, "invalid value for cache-max-file: x"),
    ],
)
def test_what_docker_refuses_when_a_container_starts(driver: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(words)):
        check_start(driver, options)
    with pytest.raises(InvalidArgumentError, match=r"^LogDriver: .*" + re.escape(words)):
        check_log_driver(Driver(name=driver, options=options), "LogDriver")


@pytest.mark.parametrize(
    ("driver", "options", "plan"),
    [
        ("json-file", {}, LogPlan()),
        ("json-file", {"max-size": "10m", "max-file": "3"}, LogPlan(max_bytes=10_000_000, max_files=3)),
        ("json-file", {"max-size": "1.5k"}, LogPlan(max_bytes=1500)),
        ("local", {}, LogPlan(max_bytes=20 << 20, max_files=5, compress=True)),
        ("local", {"max-size": "1k", "compress": "0"}, LogPlan(max_bytes=1024, max_files=5)),
        ("none", {"max-size": "x"}, LogPlan(keep=False, readable=False)),
        ("syslog", {}, LogPlan(max_bytes=20 << 20, max_files=5, compress=True, sent_to="syslog")),
        (
            "journald",
            {"cache-disabled": "true", "cache-max-size": "1m", "mode": "non-blocking", "max-buffer-size": "1k"},
            LogPlan(
                max_bytes=1 << 20, max_files=5, compress=True, sent_to="journald", readable=False, buffer_bytes=1024
            ),
        ),
    ],
)
def test_options_make_a_plan(driver: str, options: dict[str, str], plan: LogPlan) -> None:
    assert check_start(driver, options) == plan


def test_sizes() -> None:
    assert [parse_ram_size(text) for text in ("0", "1", "1b", "2k", "2kb", "3 MiB", "1G")] == [
        0, 1, 1, 2048, 2048, 3 << 20, 1 << 30,
    ]  # fmt: skip


SOURCE = TagSource(
    "0123456789abcdef" * 4, "web", "sha256:fedcba9876543210", "shop/web:1", ("sh", "-c"), "host1", {"a": "b"}
)


@pytest.mark.parametrize(
    ("template", "tag"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{.ID}}", "0123456789ab"),
        ("{{ .ImageName }}/{{.Name}}", "shop/web:1/web"),
        ("{{.ImageID}} {{.ImageFullID}}", "fedcba987654 sha256:fedcba9876543210"),
        ("{{.Command}}@{{.Hostname}}", "sh -c@host1"),
        ("{{upper .Name}} {{.Name | title}}", "WEB Web"),
        ("{{truncate .Name 2}}{{.Name | truncate 1}}", "wew"),
        ('{{index .ContainerLabels "a"}}{{index .ContainerLabels "none"}}', "b"),
        ("{{json .Name}}", '"web"'),
    ],
)
def test_tags(template: str, tag: str) -> None:
    assert LogTag.parse(template).expand(SOURCE) == tag


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ""),
        ({"labels": "one,none"}, "one=1"),
        ({"labels-regex": "^t"}, "two=a+b%2C"),
        ({"env": "E", "labels": "one"}, "E=x%3Dy,one=1"),
        ({"env-regex": "E$", "tag": "t"}, "E=x%3Dy,tag=t"),
    ],
)
def test_details_are_the_chosen_labels_variables_and_tag(options: dict[str, str], expected: str) -> None:
    labels = {"one": "1", "two": "a b,"}
    assert details(log_attributes(options, labels, ("E=x=y", "EMPTY"), "t")) == expected


@pytest.mark.parametrize(
    ("options", "address", "facility"),
    [
        ({}, SyslogAddress(), 3),
        ({"syslog-address": "udp://logs"}, SyslogAddress("udp", host="logs", port=514), 3),
        (
            {"syslog-address": "tcp://[::1]:99", "syslog-facility": "local7"},
            SyslogAddress("tcp", host="::1", port=99),
            23,
        ),
        ({"syslog-address": "unix:///dev/x", "syslog-facility": "4"}, SyslogAddress("unix", path="/dev/x"), 4),
    ],
)
def test_syslog_options(options: dict[str, str], address: SyslogAddress, facility: int) -> None:
    found: Any = read_syslog(options)
    assert (found.address, found.facility) == (address, facility)
