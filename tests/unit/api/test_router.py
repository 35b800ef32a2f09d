from __future__ import annotations

import pytest

from towline.api import networks, own, system
from towline.api.router import clean
from towline.api.routes import router
from towline.api.server import split_target
from towline.api.versions import TooOld, negotiate, parse
from towline.model.errors import (
    Conflict,
    Failure,
    Forbidden,
    InvalidParameter,
    KernelError,
    NotFound,
    StoreError,
    TowlineError,
    Unavailable,
    Unsupported,
)
from towline.model.status import status_of


@pytest.mark.parametrize(
    ("method", "path", "handler", "version", "term"),
    [
        ("GET", "/_ping", system.ping, "", ""),
        ("GET", "/version", system.version, "", ""),
        ("GET", "/v1.41/version", system.version, "1.41", ""),
        ("GET", "/networks", networks.list_networks, "", ""),
        ("GET", "/v1.50/networks/", networks.list_networks, "1.50", ""),
        ("GET", "/networks/create", networks.inspect_network, "", "create"),
        ("GET", "/v1.50/networks/a/b c", networks.inspect_network, "1.50", "a/b c"),
        ("POST", "/networks/create", networks.create_network, "", ""),
        ("POST", "/networks/a/b/connect", networks.connect, "", "a/b"),
        ("POST", "/networks/connect/disconnect", networks.disconnect, "", "connect"),
        ("DELETE", "/networks/", networks.remove_network, "", ""),
        ("DELETE", "/networks/x/connect", networks.remove_network, "", "x/connect"),
        ("GET", "/towline/v1/networks/a/b/leases", own.leases, "", "a/b"),
        ("GET", "/towline/v1/state", own.state, "", ""),
    ],
)
def test_routes(method: str, path: str, handler: object, version: str, term: str) -> None:
    assert router().find(method, path) == (handler, version, term)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_ping"),
        ("HEAD", "/networks"),
        ("PUT", "/networks/create"),
        ("DELETE", "/networks"),
        ("POST", "/networks/connect"),
        ("POST", "/networks/x"),
        ("GET", "/vx/networks"),
        ("GET", "/v1.50"),
        ("GET", "/v1.50/v1.50/networks"),
        ("GET", "/networksx"),
        ("GET", "/v1.50/towline/v1/state"),
        ("GET", "/towline/v1/networks//leases"),
        ("POST", "/towline/v1/state"),
    ],
)
def test_no_route(method: str, path: str) -> None:
    assert router().find(method, path) is None


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("/networks", "/networks"),
        ("/networks/.x/..y", "/networks/.x/..y"),
        ("/networks//connect", "/networks/connect"),
        ("//networks/", "/networks/"),
        ("/a/./b/../c", "/a/c"),
        ("/..", "/"),
        ("/a/..", "/"),
        ("", "/"),
        ("*", "/*"),
    ],
)
def test_paths_are_cleaned(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned
    assert clean(cleaned) == cleaned


def test_targets_are_decoded_once_and_never_to_invalid_text() -> None:
    assert split_target("/networks/a%2520b%2F?x=%20") == ("/networks/a%20b/", "x=%20")
    assert split_target("/networks/%ff\udcfe")[0] == "/networks/��"


@pytest.mark.parametrize(
    ("text", "version"), [("1.24", (1, 24)), ("1.40", (1, 40)), ("", (1, 56)), ("1.44.0", (1, 44)), ("01.030", (1, 30))]
)
def test_versions_served(text: str, version: tuple[int, ...]) -> None:
    assert negotiate(text) == version


@pytest.mark.parametrize("text", ["1.23", "1", "0.9", ".", "..", "1.", "1.023.9"])
def test_versions_too_old(text: str) -> None:
    with pytest.raises(TooOld, match=f"client version {text} is too old. Minimum supported API version is 1.24, "):
        negotiate(text)


@pytest.mark.parametrize("text", ["1.57", "2", "1.56.1", "1.100", "9" * 5000])
def test_versions_too_new(text: str) -> None:
    with pytest.raises(InvalidParameter, match="is too new. Maximum supported API version is 1.56"):
        negotiate(text)


def test_versions_compare_by_number() -> None:
    assert parse("1.9") < parse("1.10") < parse("1.10.1")
    assert parse("1.10.0") == parse("1.10")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidParameter(""), 400),
        (Forbidden(""), 403),
        (NotFound(""), 404),
        (Conflict(""), 409),
        (Failure(""), 500),
        (KernelError(16, "x"), 500),
        (StoreError(""), 500),
        (TowlineError(""), 500),
        (Unsupported(""), 501),
        (Unavailable(""), 503),
        (TooOld(""), 400),
    ],
)
def test_statuses(error: TowlineError, status: int) -> None:
    assert status_of(error) == status
