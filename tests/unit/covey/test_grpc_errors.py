"""Errors as gRPC statuses: the class survives the wire by its kind, whatever the sentence says."""

import pytest

from covey import errors
from covey.grpc_errors import CODES, code_name, error_from_status, error_metadata, metadata_value, raised_by_server


@pytest.mark.parametrize("kind", CODES)
def test_every_error_comes_back_as_the_class_that_was_raised(kind: type[errors.CoveyError]) -> None:
    raised = kind("the transport of the channel failed to connect")
    received = error_from_status(code_name(raised), raised.message, error_metadata(raised))
    assert type(received) is kind
    assert received.message == raised.message


def test_a_subclass_that_has_no_kind_comes_back_as_its_base() -> None:
    class DiskFullError(errors.UnavailableError):
        """Not in the table."""

    raised = DiskFullError("the disk is full")
    assert type(error_from_status(code_name(raised), "", error_metadata(raised))) is errors.UnavailableError


def test_a_status_without_a_kind_was_not_made_by_a_server_and_is_known_by_its_code_alone() -> None:
    assert raised_by_server(error_metadata(errors.UnavailableError("")))
    for metadata in (None, (), (("content-type", "x"),)):
        assert not raised_by_server(metadata)
        assert type(error_from_status("PERMISSION_DENIED", "", metadata)) is errors.PermissionDeniedError
    assert type(error_from_status("UNKNOWN", "", None)) is errors.CoveyError


def test_an_error_without_a_meaning_to_the_caller_has_no_kind() -> None:
    assert code_name(ValueError()) == "INTERNAL"
    assert error_metadata(ValueError()) == ()


def test_metadata_of_either_type_is_read() -> None:
    assert metadata_value((("a", b"x"), ("b", "y")), "a") == "x"
    assert metadata_value((("a", b"x"), ("b", "y")), "b") == "y"
    assert metadata_value((), "a") is None
