"""What a handler gets, and the answers it can give. Headers follow moby daemon/server/middleware/version.go."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from towline import __version__
from towline.api.streams import Streams
from towline.api.versions import NEWEST, Version
from towline.api.wire_out import Fragments, encode
from towline.control.contract import WholeEngine
from towline.model.errors import InvalidParameter

SERVER = f"Towline/{__version__} (linux)"
_BARE = {"Server": SERVER}
_VERSION_REFUSED = {"Api-Version": NEWEST, "Ostype": "linux", **_BARE}
_COMMON = {"Api-Version": NEWEST, "Docker-Experimental": "false", "Ostype": "linux", **_BARE}
_JSON = {"Content-Type": "application/json"}
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def _proxy(*parts: dict[str, str]) -> CIMultiDictProxy[str]:
    merged: CIMultiDict[str] = CIMultiDict()
    for part in parts:
        merged.update(part)
    return CIMultiDictProxy(merged)


EMPTY_HEADERS = _proxy(_COMMON)
JSON_HEADERS = _proxy(_JSON, _COMMON)
TEXT_HEADERS = _proxy(_TEXT, _COMMON)
UNKNOWN_HEADERS = _proxy(_JSON, _BARE)
TOO_NEW_HEADERS = _proxy(_JSON, _VERSION_REFUSED)
TOO_OLD_HEADERS = _proxy(_TEXT, {"X-Content-Type-Options": "nosniff"}, _VERSION_REFUSED)
REDIRECT_HEADERS = _proxy(_BARE)

_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)


class Call(msgspec.Struct, frozen=True):
    """One request on its way to a handler. term: the {id} of the path."""

    engine: WholeEngine
    fragments: Fragments
    streams: Streams
    request: web.BaseRequest
    version: Version
    term: str
    query: dict[str, str]


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


def parse_query(text: str) -> dict[str, str]:
    """First value of each name. InvalidParameter with the texts of Go's url.ParseQuery."""
    if not text:
        return {}
    if (bad := _BAD_ESCAPE.search(text)) is not None:
        raise InvalidParameter(f'invalid URL escape "{bad.group()}"')
    if ";" in text:
        raise InvalidParameter("invalid semicolon separator in query")
    values: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        values.setdefault(name, value)
    return values


def json_answer(body: bytes, status: int = 200) -> web.Response:
    """`body` ends with a newline, as Go's encoder leaves one."""
    return web.Response(body=body, status=status, headers=JSON_HEADERS)


def json_value(value: Any, status: int = 200) -> web.Response:
    return json_answer(encode(value) + b"\n", status)


def empty_answer(status: int = 200) -> web.Response:
    return web.Response(status=status, headers=EMPTY_HEADERS)


def message(text: str, status: int, headers: CIMultiDictProxy[str] = JSON_HEADERS) -> web.Response:
    """Docker's error body. Bytes of the request that were no UTF-8 are shown as question marks."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return web.Response(body=encode({"message": text}) + b"\n", status=status, headers=headers)
