"""The real daemon, with its own event loop, answers clients that shut down their sending side."""

from __future__ import annotations

import pytest

from tests.support.daemon import Daemon
from tests.support.half_close import request, say


def test_requests_are_answered(daemon: Daemon) -> None:
    assert say(daemon.socket, request("GET", "/_ping")).statuses == [200]
    assert say(daemon.socket, request("POST", "/networks/create", b'{"Name": "web"}')).statuses == [201]
    assert daemon.http("GET", "/networks/web").status == 200


@pytest.mark.parametrize("body", [b"", b'{"Name": "web"'])
def test_a_truncated_body_is_refused(daemon: Daemon, body: bytes) -> None:
    assert say(daemon.socket, request("POST", "/networks/create", body, length=100)).statuses == [400]
    assert daemon.http("GET", "/networks/web").status == 404


def test_streams_end(daemon: Daemon) -> None:
    assert say(daemon.socket, request("GET", "/events")).statuses == [200]
