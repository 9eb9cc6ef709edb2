"""Small pure parts of the Engine API: unknown fields, times, filters, frames, detach keys, routing."""

import pytest

from covey import detach_keys
from covey.errors import InvalidArgumentError, UnsupportedError
from covey.objects import Annotations, Task
from engine import routing
from engine.interfaces import LocalNodeState
from engine.request_context import not_manager_message
from engine.streams import frame
from engine.translate import event, filters, logs, service, times
from engine.translate.container_list import human_duration
from engine.translate.json_fields import JsonFields, is_zero


def test_an_unsupported_field_of_the_api_is_refused_by_its_path_and_other_keys_are_ignored() -> None:
    fields = JsonFields({"Known": 1, "pluginSpec": {"Deep": [0, 1]}, "hijack": True}, "Spec")
    assert fields.count("Known") == 1
    with pytest.raises(UnsupportedError, match=r"^Spec\.pluginSpec is not supported by Covey yet"):
        fields.refuse_unsupported()


@pytest.mark.parametrize("value", [None, 0, 0.0, False, "", [], {}, {"a": {"b": None}, "c": []}])
def test_zero_values_count_as_absent(value: object) -> None:
    assert is_zero(value)
    fields = JsonFields({"Unknown": value})
    fields.refuse_unsupported()


@pytest.mark.parametrize("value", [1, True, "x", [0], {"a": 1}, {"a": {"b": "c"}}])
def test_anything_else_does_not(value: object) -> None:
    assert not is_zero(value)


def test_keys_match_without_regard_to_case_as_in_go() -> None:
    fields = JsonFields({"HealthCheck": {"Test": ["NONE"]}})
    assert fields.read("Healthcheck", lambda item: item.text_list("Test")) == ("NONE",)
    fields.refuse_unsupported()


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("1", "number"),
        (1, "text"),
        ([1], "text_list"),
        ({"a": 1}, "text_map"),
        ("x", "flag"),
        (-1, "count"),
        (2**63, "number"),
        (True, "number"),
    ],
)
def test_a_wrong_type_is_named(value: object, read: str) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"^json: cannot unmarshal .+ into Go struct field Top\.Field of type "
    ):
        getattr(JsonFields({"Field": value}, "Top"), read)("Field")


def test_two_service_modes_at_once_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="only one service mode"):
        service.read_spec(
            {"TaskTemplate": {"ContainerSpec": {"Image": "i"}}, "Mode": {"Global": {}, "Replicated": {"Replicas": 1}}}
        )


def test_what_the_client_sends_for_nothing_special_is_accepted() -> None:
    """The body of ``docker service create busybox``, with all its zero values."""
    spec = service.read_spec(
        {
            "Name": "x",
            "Labels": {},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "busybox:latest", "Labels": None, "Init": False, "DNSConfig": {}, "Isolation": "default",
                    "Privileges": {"CredentialSpec": None, "SELinuxContext": None, "NoNewPrivileges": False,
                                   "Seccomp": {"Mode": "default", "Profile": None}, "AppArmor": None},
                    "Healthcheck": None, "StopGracePeriod": 10_000_000_000,
                },
                "Resources": {"Limits": {}, "Reservations": {}},
                "RestartPolicy": {"Condition": "any", "Delay": 5_000_000_000, "MaxAttempts": 0},
                "Placement": {"Platforms": None},
                "ForceUpdate": 0,
                "Runtime": "container",
                "NetworkAttachmentSpec": None,
                "PluginSpec": None,
            },
            "Mode": {"Replicated": {"Replicas": 1}},
            "EndpointSpec": {"Mode": "vip"},
        }
    )  # fmt: skip
    assert spec.task.container.init is False


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01", 0),
        ("", 0),
        (times.ZERO, 0),
    ],
)
def test_rfc3339_is_read(text: str, time_ns: int) -> None:
    assert times.parse_rfc3339(text) == time_ns


def test_times_are_written_as_go_does() -> None:
    assert times.rfc3339(0) == times.ZERO
    assert times.rfc3339(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert times.rfc3339(2_000_000_000) == "1970-01-01T00:00:02Z"
    assert times.log_time(1_500_000_000) == "1970-01-01T00:00:01.500000000Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("12", 12 * 10**9),
        ("1.5", 1_500_000_000),
        ("1m30s", 10**12 - 90 * 10**9),
        ("0", 0),
        ("", 0),
        ("1970-01-01T00:00:03Z", 3 * 10**9),
    ],
)
def test_a_query_may_write_a_moment_in_three_ways(text: str, moment: int) -> None:
    assert times.parse_moment(text, 10**12) == moment


def test_a_moment_that_is_none_is_refused() -> None:
    for text in ("yesterday", "2024-99-01", "5 minutes"):
        with pytest.raises(InvalidArgumentError):
            times.parse_moment(text, 10**12)


def test_filters_are_read_in_both_forms() -> None:
    assert filters.parse('{"name":{"a":true,"b":false}}', ["name"]) == {"name": ("a",)}
    assert filters.parse('{"name":["a","b"],"id":[]}', ["name", "id"]) == {"name": ("a", "b")}
    for text in ('["name"]', '{"name":1}', '{"name":[1]}', "{"):
        with pytest.raises(InvalidArgumentError):
            filters.parse(text, ["name"])


def test_all_labels_must_match_and_any_name() -> None:
    labels = {"a": "1", "b": ""}
    assert filters.match_labels(["a", "a=1", "b="], labels)
    assert not filters.match_labels(["a=2"], labels)
    assert not filters.match_labels(["a", "c"], labels)
    assert filters.match_prefix(["x", "we"], "web")
    assert not filters.match_prefix(["x"], "web")


def test_a_tasks_labels_are_its_services_too() -> None:
    task = Task(id="t", service_annotations=Annotations(name="web", labels={"stack": "shop"}))
    assert filters.match_task({"label": ("stack=shop",)}, task, "web.1.t")
    assert not filters.match_task({"label": ("stack=other",)}, task, "web.1.t")


def test_events_match_by_kind_name_and_label() -> None:
    item = event.message(
        "container", "health_status: healthy", "abc123", {"name": "web", "image": "busybox:1", "l": "v"}, 1
    )
    assert event.matches({"container": ("web",), "event": ("health_status",), "label": ("l=v",)}, item)
    assert event.matches({"image": ("busybox",), "type": ("container",), "container": ("abc",)}, item)
    assert not event.matches({"service": ("web",)}, item)
    assert not event.matches({"scope": ("swarm",)}, item)


def test_frames_carry_stream_and_length() -> None:
    assert frame(2, b"abc") == b"\x02\x00\x00\x00\x00\x00\x00\x03abc"


def test_log_lines_put_details_behind_the_time() -> None:
    details = logs.task_details("n", "s", "t")
    assert details == "com.docker.swarm.node.id=n,com.docker.swarm.service.id=s,com.docker.swarm.task.id=t"
    assert logs.log_line(b"x\n", 1_500_000_000, "d") == b"1970-01-01T00:00:01.500000000Z d x\n"
    assert logs.log_line(b"x", None) == b"x"


def test_detach_keys_are_found_across_reads_and_given_back_when_broken() -> None:
    matcher = detach_keys.DetachKeyMatcher(detach_keys.parse(""))
    assert matcher.feed(b"ab\x10") == (b"ab", False)
    assert matcher.feed(b"c") == (b"\x10c", False)
    assert matcher.feed(b"\x10\x10\x11rest") == (b"\x10", True)
    assert detach_keys.parse("ctrl-a,x,ctrl-[") == b"\x01x\x1b"
    for text in ("ctrl-", "ctrl-ab", "word", "ctrl-é"):
        with pytest.raises(InvalidArgumentError):
            detach_keys.parse(text)


@pytest.mark.parametrize(
    ("path", "version", "rest"),
    [
        ("/v1.41/info", (1, 41), "/info"),
        ("/info", (1, 50), "/info"),
        ("/v1.30/images/v1.2/json", (1, 30), "/images/v1.2/json"),
    ],
)
def test_the_version_is_split_from_the_path(path: str, version: tuple[int, int], rest: str) -> None:
    assert routing.split_version(path) == (version, rest)


def test_only_a_manager_answers_for_the_cluster() -> None:
    assert not_manager_message(LocalNodeState.ACTIVE, is_manager=True) == ""
    assert not_manager_message(LocalNodeState.PENDING, is_manager=True) == "", "a manager that starts is waited for"
    for state in LocalNodeState:
        assert not_manager_message(state, is_manager=False)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (3599, "59 minutes"),
     (3600, "About an hour"), (47 * 3600, "47 hours"), (3 * 86400, "3 days"), (21 * 86400, "3 weeks"), (90 * 86400, "3 months"),
     (800 * 86400, "2 years")],
)  # fmt: skip
def test_durations_are_said_as_docker_says_them(seconds: float, words: str) -> None:
    assert human_duration(int(seconds * 10**9)) == words
