"""Schemathesis on a real daemon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings

from tests.support.daemon import fresh_daemon
from tests.support.fuzz import SCHEMA, check, session


@pytest.fixture(scope="module")
def client() -> Iterator[requests.Session]:
    with fresh_daemon() as daemon:
        daemon.start()
        with session(daemon.socket) as made:
            yield made


@SCHEMA.parametrize()
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_documented(case: schemathesis.Case, client: requests.Session) -> None:
    check(case, client)
