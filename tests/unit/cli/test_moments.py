"""Moments of --since and --until, platforms, and rows of disk usage and of published ports."""

import pytest

from cli.parse.moments import parse_moment
from cli.parse.platform import platform_fields, platform_text
from cli.rows import disk_usage
from cli.rows.container import published
from covey.clock import SECOND
from covey.errors import InvalidArgumentError

NOW = 1_700_000_000 * SECOND + 5


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", ""),
        ("1700000000", "1700000000"),
        ("1700000000.25", "1700000000.25"),
        ("10s", "1699999990.000000005"),
        ("1h30m", "1699994600.000000005"),
        ("-10s", "1700000010.000000005"),
        ("0s", "1700000000.000000005"),
        ("2023-11-14T22:13:20Z", "1700000000"),
        ("2023-11-14T22:13:20.123456789Z", "1700000000.123456789"),
        ("2023-11-15T00:13:20+02:00", "1700000000"),
        ("2023-11-14T22:13Z", "1699999980"),
    ],
)
def test_a_moment_is_seconds_since_the_epoch(text: str, moment: str) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["yesterday", "2023-13-01", "1h x", "--5s"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="is no time"):
        parse_moment(text, NOW)


def test_platforms_have_gos_names() -> None:
    assert platform_fields("Linux/x86_64") == {"os": "linux", "architecture": "amd64"}
    assert platform_text("linux/aarch64/v8") == "linux/arm64/v8"
    assert platform_fields("") == {}
    for text in ("a/b/c/d", "a//b", "a b"):
        with pytest.raises(InvalidArgumentError, match="invalid platform"):
            platform_fields(text)


def test_disk_usage_counts_what_can_be_reclaimed() -> None:
    rows = disk_usage.summary(
        {
            "LayersSize": 1000,
            "Images": [
                {"Size": 600, "SharedSize": 100, "Containers": 1},
                {"Size": 500, "SharedSize": 100, "Containers": 0},
            ],
            "Containers": [{"State": "running", "SizeRw": 30}, {"State": "exited", "SizeRw": 10}],
            "Volumes": [{"Name": "a", "UsageData": {"Size": 7, "RefCount": 1}}, {"Name": "b", "UsageData": None}],
        }
    )
    assert [(row["TotalCount"], row["Active"], row["Size"], row["Reclaimable"]) for row in rows] == [
        ("2", "1", "1kB", "500B (50%)"),
        ("2", "1", "40B", "10B (25%)"),
        ("2", "1", "7B", "0B (0%)"),
        ("0", "0", "0B", "0B"),
    ]


def test_published_ports_have_brackets_around_ipv6() -> None:
    bindings = [{"HostIp": "0.0.0.0", "HostPort": "80"}, {"HostIp": "::", "HostPort": "80"}]
    assert published(bindings) == ["0.0.0.0:80", "[::]:80"]
