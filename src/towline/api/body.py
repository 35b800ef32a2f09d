"""A request's JSON body: limits, content type, decoding (moby daemon/server/httputils/httputils.go).

Well-formed bodies with the expected members are decoded in one step by msgspec. Whatever that refuses is read again
with Go's rules, which either accepts it (other letter case, unknown members) or has Docker's words for the refusal.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from towline.api.gojson.decode import Struct, TypeMismatch, decode
from towline.api.gojson.scanner import MalformedJson, scan
from towline.model.errors import InvalidParameter

MAX_BODY = 8 * 1024 * 1024
EXACT_TEXTS = 64 * 1024
"""Longer bodies are read by the fast parser only: the exact scanner would hold up other requests."""

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_MEDIA_TYPE = re.compile(rf"\s*({_WORD}(?:/{_WORD})?)\s*(;.*)?", re.DOTALL)
_SPACE = b" \t\r\n"


Record = TypeVar("Record", bound=msgspec.Struct)


class Shape(msgspec.Struct, frozen=True):
    """One body type: the record that handlers get, its fast decoder, and the Go type behind it.

    fast: None if the record keeps less than what has to be checked.
    """

    record: type[msgspec.Struct]
    fast: msgspec.json.Decoder[Any] | None
    go: Struct


def shape(record: type[msgspec.Struct], go: Struct) -> Shape:
    """Only records that refuse unknown members can be decoded fast."""
    closed = record.__struct_config__.forbid_unknown_fields
    return Shape(record, msgspec.json.Decoder(record) if closed else None, go)


async def read(request: web.BaseRequest, wanted: Shape) -> Any:
    """The body as `wanted.record`; an empty body is the zero record. InvalidParameter with Docker's text."""
    content_type = request.headers.get("Content-Type", "")
    has_body = request.body_exists
    if content_type != "application/json" and (content_type or has_body):
        _check_media_type(content_type)
    data = await _load(request) if has_body else b""
    if not data:
        return wanted.record()
    if wanted.fast is not None:
        with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
            return wanted.fast.decode(data)
    return msgspec.convert(_exact(data, wanted.go), wanted.record)


async def read_own(request: web.BaseRequest, wanted: type[Record]) -> Record:
    """The body of one of Towline's own routes; an empty one is the zero record. InvalidParameter."""
    content_type = request.headers.get("Content-Type", "")
    if not request.body_exists or not (data := await _load(request)):
        return wanted()
    if content_type != "application/json":
        _check_media_type(content_type)
    try:
        return msgspec.json.decode(data, type=wanted)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidParameter(f"invalid JSON: {error}") from None


async def _load(request: web.BaseRequest) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise InvalidParameter(f"invalid JSON: request body too large: the limit is {MAX_BODY} bytes") from None
    except web.RequestPayloadError:
        raise InvalidParameter("invalid JSON: unexpected EOF") from None


def _check_media_type(header: str) -> None:
    media_type = _MEDIA_TYPE.fullmatch(header)
    if media_type is None:
        reason = "mime: no media type" if not header.strip() else "mime: expected token after slash"
        raise InvalidParameter(f"malformed Content-Type header ({header}): {reason}")
    if media_type[1].lower() != "application/json":
        raise InvalidParameter(f"unsupported Content-Type header ({header}): must be 'application/json'")


def _exact(data: bytes, go: Struct) -> dict[str, Any]:
    if not data.strip(_SPACE):
        raise InvalidParameter("invalid JSON: got EOF while reading request body")
    try:
        value = _scan(data) if len(data) <= EXACT_TEXTS else _parse_long(data)
        return decode(value, go)
    except (MalformedJson, TypeMismatch) as refusal:
        raise InvalidParameter(f"invalid JSON: {refusal}") from None


def _scan(data: bytes) -> Any:
    value, end = scan(data)
    rest = data[end:].lstrip(_SPACE)
    if rest and rest[0] not in b"]}":
        raise InvalidParameter("unexpected content after JSON")
    return value


def _parse_long(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        raise MalformedJson("exceeded max depth") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise MalformedJson(str(error)) from None
