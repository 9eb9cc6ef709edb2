"""Process tables: the rows of `ps` that belong to a container."""

import pytest

from agent.container.process_table import parse_ps
from covey.errors import InvalidArgumentError

OUTPUT = """  PID USER     COMMAND
    1 root     /sbin/init
   42 web      sh -c sleep 1; true
  142 root     sleep 9
"""


def test_only_the_rows_of_the_containers_processes_are_kept_and_the_last_column_is_whole():
    found = parse_ps(OUTPUT, [42, 142])
    assert found.titles == ("PID", "USER", "COMMAND")
    assert found.processes == (("42", "web", "sh -c sleep 1; true"), ("142", "root", "sleep 9"))


@pytest.mark.parametrize("output", ["", "USER COMMAND\nroot sh\n"])
def test_an_output_without_process_ids_is_refused_in_dockers_words(output: str):
    with pytest.raises(InvalidArgumentError, match="Couldn't find PID field in ps output"):
        parse_ps(output, [1])
