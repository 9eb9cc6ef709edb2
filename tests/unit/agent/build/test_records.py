"""Which builds are the same, and which give the same result again."""

import msgspec

from agent.build.dockerfile import parse
from agent.build.model import BuildRequest
from agent.build.records import RECORD_LIMIT, BuildRecord, BuildRecords, is_repeatable, record_key
from agent.image.registry.auth_config import Credentials

REQUEST = BuildRequest(build_args={"A": "1", "B": None}, labels={"x": "y"}, secrets={"key": b"one"})


def key(**changes: object) -> str:
    return record_key(msgspec.structs.replace(REQUEST, **changes), "abc")


def test_what_does_not_change_the_result_is_not_part_of_the_key() -> None:
    same = {
        key(),
        key(tags=("app:2",)),
        key(credentials={"host": Credentials()}),
        key(secrets={"key": b"two"}),
        key(build_args={"B": None, "A": "1"}),
    }
    assert len(same) == 1


def test_what_may_change_the_result_is() -> None:
    other = {
        key(build_args={"A": "2", "B": None}),
        key(build_args={"A": "1", "B": ""}),
        key(labels={}),
        key(target="first"),
        key(dockerfile="Dockerfile.two"),
        key(network="none"),
        key(secrets={}),
        record_key(REQUEST, "abd"),
    }
    assert len(other - {key()}) == 8


def repeatable(line: str, *triggers: str) -> bool:
    return is_repeatable(parse(f"FROM scratch\n{line}\n".encode(), "Dockerfile").instructions, triggers)


def test_a_build_that_may_fetch_a_url_is_not_repeatable() -> None:
    assert repeatable("ADD files.tar /")
    assert repeatable("COPY $SOURCE /")
    assert not repeatable("ADD https://example.com/a /")
    assert not repeatable("ADD git@example.com:a.git /")
    assert not repeatable("ADD $SOURCE /")
    assert not repeatable("COPY a /", "ADD http://example.com/a /")


def test_a_record_is_kept_until_it_is_cleared_and_a_broken_one_is_none(tmp_path) -> None:
    records, record = BuildRecords(tmp_path / "records"), BuildRecord("sha256:1", {"app:1": "sha256:2"}, ("Step 1\n",))
    assert records.find("a") is None
    records.save("a", record)
    assert records.find("a") == record
    (tmp_path / "records" / "b").write_bytes(b"{")
    assert records.find("b") is None
    records.clear()
    records.clear()
    assert records.find("a") is None


def test_the_records_that_were_used_last_are_kept(tmp_path) -> None:
    records, record = BuildRecords(tmp_path / "records"), BuildRecord("sha256:1", {}, ())
    records.save("first", record)
    records.save("second", record)
    for number in range(RECORD_LIMIT - 2):
        records.save(str(number), record)
    assert records.find("first") == record
    records.save("last", record)
    assert records.find("first") == record
    assert records.find("second") is None
