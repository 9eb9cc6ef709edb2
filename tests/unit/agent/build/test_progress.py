"""buildah's output in the words of Docker's builder."""

from agent.build.progress import BuildLog


def log(*pieces: str, shown: dict[str, str] | None = None, steps: int = 2) -> list[str]:
    reader = BuildLog(shown or {}, steps)
    return [part for piece in pieces for part in reader.feed(piece)] + reader.end()


def test_steps_are_counted_over_all_stages_and_shown_as_the_user_wrote_them() -> None:
    found = log("[1/2] STEP 1/1: FROM abc\n[2/2] STEP 1/1: FROM def\n", shown={"FROM abc": "FROM busybox"})
    assert found == ["Step 1/2 : FROM busybox\n", "Step 2/2 : FROM def\n"]


def test_cache_hits_and_layers_have_docker_s_words() -> None:
    assert log(f"--> Using cache {'a' * 64}\n--> {'b' * 12}\nCOMMIT\n{'c' * 64}\n") == [
        " ---> Using cache\n", f" ---> {'a' * 12}\n", f" ---> {'b' * 12}\n",
    ]  # fmt: skip


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
