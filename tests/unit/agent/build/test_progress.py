"""buildah's output in the words of Docker's builder."""

import pytest

from agent.build.progress import BuildLog
from covey.errors import CoveyError


def log(*pieces: str, shown: dict[str, str] | None = None, steps: int = 2) -> list[str]:
    reader = BuildLog(shown or {}, steps)
    return [part for piece in pieces for part in reader.feed(piece)] + reader.end()


def test_steps_are_counted_over_all_stages_and_shown_as_the_user_wrote_them() -> None:
    found = log("[1/2] STEP 1/1: FROM abc\n[2/2] STEP 1/1: FROM def\n", shown={"FROM abc": "FROM busybox"})
    assert found == ["Step 1/2 : FROM busybox\n", "Step 2/2 : FROM def\n"]


def test_cache_hits_and_layers_have_docker_s_words() -> None:
    reader = BuildLog({}, 2)
    found = reader.feed(
        f"STEP 1/2: A\n--> Using cache {'a' * 64}\n--> {'a' * 11}\nSTEP 2/2: B\n--> {'b' * 11}\nCOMMIT\n"
    )
    assert [line for line in found if not line.startswith("Step")] == [
        " ---> Using cache\n", f" ---> {'a' * 12}\n", f" ---> {'b' * 11}\n",
    ]  # fmt: skip


def test_the_last_line_is_the_image_and_one_like_it_is_output() -> None:
    reader = BuildLog({}, 1)
    assert reader.feed(f"{'c' * 64}\n") == []
    assert reader.feed(f"{'d' * 64}\n") == [f"{'c' * 64}\n"]
    assert reader.image_id == f"sha256:{'d' * 64}"
    assert reader.feed("more\n") == [f"{'d' * 64}\n", "more\n"]
    with pytest.raises(CoveyError, match="without an image"):
        assert reader.image_id


def test_output_without_a_line_end_is_shown_at_once() -> None:
    reader = BuildLog({}, 1)
    assert reader.feed("50%") == ["50%"]
    assert reader.feed("\r60%\nSTEP") == ["\r60%\n"]
    assert reader.feed(" 1/1: RUN x\n") == ["Step 1/1 : RUN x\n"]


def test_no_more_than_the_limit_is_held_back() -> None:
    assert len(BuildLog({}, 1).feed("STEP " + "x" * (1 << 17))[0]) > 1 << 16


def test_a_failed_command_has_its_code() -> None:
    reader = BuildLog({"RUN false": "RUN false"}, 1)
    reader.feed('Error: building at STEP "RUN false": while running runtime: exit status 3\n')
    failure = reader.failure(1)
    assert (failure.message, failure.code) == ("The command '/bin/sh -c false' returned a non-zero code: 3", 3)


def test_a_missing_file_is_named_without_the_host_s_path() -> None:
    reader = BuildLog({"COPY --from=abc x /": "COPY x /"}, 1)
    reader.feed(
        'Error: building at STEP "COPY --from=abc x /": checking on sources under "/state/1": copier: stat: "/x": no such file or directory\n'
    )
    words = "COPY failed: file not found in build context or excluded by .dockerignore: stat x: file does not exist"
    assert reader.failure(125).message == words


def test_an_error_that_a_command_prints_is_output() -> None:
    assert log("Error: mine\nmore\n") == ["Error: mine\n", "more\n"]


def test_the_log_of_the_same_build_from_the_cache_has_its_steps_in_order() -> None:
    reader = BuildLog({"FROM abc": "FROM busybox"}, 4)
    reader.feed(f"[1/2] STEP 1/2: FROM abc\n[2/2] STEP 1/2: FROM abc\n[2/2] STEP 2/2: RUN b\n--> {'b' * 64}\n")
    reader.feed(f"[1/2] STEP 2/2: RUN a\noutput\n[1/2] STEP 3/3: a command printed this\n--> {'c' * 64}\n")
    assert reader.cached() == [
        "Step 1/4 : FROM busybox\n", "Step 2/4 : RUN a\n", " ---> Using cache\n",
        "Step 3/4 : FROM busybox\n", "Step 4/4 : RUN b\n", " ---> Using cache\n",
    ]  # fmt: skip


def test_a_stage_on_another_begins_with_the_user_s_line() -> None:
    reader = BuildLog({}, 4, {1: "FROM busybox AS one", 3: "FROM one AS two"})
    found = reader.feed("[1/3] STEP 1/2: FROM abc AS one\n[1/3] STEP 2/2: RUN true\n[3/3] STEP 1/2: FROM def AS two\n")
    assert found == ["Step 1/4 : FROM busybox AS one\n", "Step 2/4 : RUN true\n", "Step 3/4 : FROM one AS two\n"]
