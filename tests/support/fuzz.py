"""Schemathesis against a unix socket: whatever is sent, the answer is one that the OpenAPI document promises."""

from __future__ import annotations

import time
from typing import Any

import requests
import schemathesis
from docker.transport import UnixHTTPAdapter
from schemathesis import checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from towline.api.openapi import document

SCHEMA = schemathesis.openapi.from_dict(document())
HOST = "http://towline"


def session(socket: str) -> requests.Session:
    made = requests.Session()
    made.mount(HOST, UnixHTTPAdapter(f"http+unix://{socket}"))
    return made


def no_internal_error(_context: checks.CheckContext, response: Any, _case: schemathesis.Case) -> None:
    """500 is Docker's answer to some mistakes; an error that nobody foresaw has our own text."""
    assert "internal error" not in response.text


def check(case: schemathesis.Case, client: requests.Session) -> None:
    if case.path == "/events":
        case.query = {**(case.query or {}), "until": f"{time.time():.3f}"}  # or the answer would not end
    if (case.method, case.path) == ("POST", "/towline/v1/sandboxes") and isinstance(case.body, dict):
        case.body = {**case.body, "command": ["true"], "attach": None}  # what runs here stays ours
    if case.path in ("/swarm/init", "/swarm/join") and isinstance(case.body, dict):
        case.body = {**case.body, "ListenAddr": "no such interface"}  # no cluster is begun by chance
    case.call_and_validate(
        base_url=HOST,
        session=client,
        checks=[
            no_internal_error,
            status_code_conformance,
            content_type_conformance,
            response_headers_conformance,
            response_schema_conformance,
        ],
    )
