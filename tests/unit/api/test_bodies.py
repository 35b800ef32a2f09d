"""Bad bodies, by name: each gets a clear answer, none disturbs the server."""

from __future__ import annotations

import socket as sockets
from contextlib import suppress
from typing import Any

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.served import ask, beside

CREATE = "/v1.56/networks/create"
JSON = {"Content-Type": "application/json"}


async def refusal(socket: str, body: object, headers: dict[str, str] | None = None, path: str = CREATE) -> Any:
    answer = await ask(socket, "POST", path, body, headers=headers)
    return answer.status, answer.json["message"]


async def test_ten_megabytes(socket: str) -> None:
    body = b'{"Name":"' + b"x" * 10_000_000 + b'"}'
    expected = "invalid JSON: request body too large: the limit is 8388608 bytes"
    assert await refusal(socket, body) == (400, expected)


async def test_a_megabyte_of_name_is_a_name(socket: str, engine: FakeEngine) -> None:
    name = "n" * 1_000_000
    assert (await ask(socket, "POST", CREATE, {"Name": name})).status == 201
    assert (await ask(socket, "POST", CREATE, {"Name": name})).json[
        "message"
    ] == f"network with name {name} already exists"
    assert engine.network_named(name) is not None


async def test_a_megabyte_of_path(socket: str) -> None:
    name = "n" * 1_000_000
    answer = await ask(socket, "GET", f"/networks/{name}")
    assert (answer.status, answer.json["message"]) == (404, f"network {name} not found")


async def test_a_path_without_end_does_no_harm(socket: str) -> None:
    with suppress(ConnectionResetError):
        await beside(_raw, socket, b"GET /networks/" + b"n" * 4_000_000)
    assert (await ask(socket, "GET", "/_ping")).status == 200


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"Labels":', b'{"IPAM":{"Config":['])
async def test_deep_nesting(socket: str, opening: bytes) -> None:
    status, message = await refusal(socket, opening * 50_000)
    assert status == 400
    assert message.startswith("invalid JSON: ")


async def test_nesting_that_go_accepts(socket: str) -> None:
    deep = b'{"Name":"deep","Strange":' + b"[" * 9_000 + b"]" * 9_000 + b"}"
    assert (await ask(socket, "POST", CREATE, deep)).status == 201


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b" \n", "invalid JSON: got EOF while reading request body"),
        (b'{"Name":"x"', "invalid JSON: unexpected EOF"),
        (b'{"Name":"x"} {', "unexpected content after JSON"),
        (b'{"Name":"x\0"}', "invalid JSON: invalid character '\\x00' in string literal"),
        (b'\xef\xbb\xbf{"Name":"x"}', "invalid JSON: invalid character '\xef' looking for beginning of value"),
        (
            b'{"Name":["x"]}',
            "invalid JSON: json: cannot unmarshal array into Go struct field CreateRequest.Name of type string",
        ),
        (
            b'{"Name":"x","IPAM":{"Config":[{"AuxiliaryAddresses":{"a":"x"}}]}}',
            'invalid JSON: ParseAddr("x"): unable to parse IP',
        ),
    ],
)
async def test_malformed(socket: str, body: bytes, message: str) -> None:
    assert await refusal(socket, body) == (400, message)


@pytest.mark.parametrize("tail", ["]", "}"])
async def test_go_does_not_mind_a_closing_bracket_too_many(socket: str, tail: str) -> None:
    assert (await ask(socket, "POST", CREATE, b'{"Name":"x"}' + tail.encode())).status == 201


async def test_long_malformed_body(socket: str) -> None:
    status, message = await refusal(socket, b'{"Name":"' + b"x" * 100_000)
    assert (status, message.startswith("invalid JSON: ")) == (400, True)


async def test_unknown_members_and_other_letter_case_are_accepted(socket: str, engine: FakeEngine) -> None:
    body = {"NAME": "x", "Color": {"deep": [1, None]}, "labels": {"a": "b"}, "enableipv6": True}
    assert (await ask(socket, "POST", CREATE, body)).status == 201
    network = engine.network_named("x")
    assert network is not None
    assert (network.labels, network.enable_ipv6) == ({"a": "b"}, True)


async def test_names_with_slashes_controls_and_other_scripts(socket: str, engine: FakeEngine) -> None:
    names = {"a/b": "a/b", "a\0b": "a%00b", " ü ": "%20%C3%BC%20", "x%20": "x%2520", "\ufffd": "%FF"}
    for name, path in names.items():
        assert (await ask(socket, "POST", CREATE, {"Name": name})).status == 201
        assert (await ask(socket, "GET", f"/networks/{path}")).json["Name"] == name
        assert (await ask(socket, "DELETE", f"/networks/{path}")).status == 204


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        ("text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"),
        ("", "malformed Content-Type header (): mime: no media type"),
        ("application/json/x", "malformed Content-Type header (application/json/x): mime: "),
        ("a\xff", "malformed Content-Type header (a"),
    ],
)
async def test_content_types(socket: str, content_type: str, message: str) -> None:
    status, text = await refusal(socket, b'{"Name":"x"}', {"Content-Type": content_type})
    assert (status, text[: len(message)]) == (400, message)


@pytest.mark.parametrize("content_type", ["application/json;charset=utf-8", "Application/JSON ; a=b"])
async def test_content_types_accepted(socket: str, content_type: str) -> None:
    answer = await ask(socket, "POST", CREATE, b'{"Name":"x"}', headers={"Content-Type": content_type})
    assert answer.status == 201


async def test_no_body_needs_no_type(socket: str) -> None:
    assert await refusal(socket, None) == (400, "invalid name: name is empty")
    assert await refusal(socket, None, {"Content-Type": "text/plain"}) == (
        400,
        "unsupported Content-Type header (text/plain): must be 'application/json'",
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"MacAddress": "zz"}, "invalid JSON: address zz: invalid MAC address"),
        ({"IPAMConfig": {"IPv4Address": "x"}}, 'invalid JSON: ParseAddr("x"): unable to parse IP'),
        (
            {"GwPriority": 1.5},
            "invalid JSON: json: cannot unmarshal number 1.5 into "
            "Go struct field ConnectRequest.EndpointConfig.GwPriority of type int",
        ),
    ],
)
async def test_endpoint_settings_are_checked(socket: str, settings: dict[str, object], message: str) -> None:
    body = {"Container": "c", "EndpointConfig": settings}
    assert await refusal(socket, body, path="/networks/bridge/connect") == (400, message)


async def test_what_the_cli_sends_on_connect(socket: str) -> None:
    """Recorded from docker 28.2.2."""
    settings = {"IPAMConfig": {}, "Links": None, "Aliases": None, "MacAddress": "", "DriverOpts": None, "GwPriority": 0}
    settings |= {"NetworkID": "", "IPAddress": "", "IPPrefixLen": 0, "DNSNames": None}
    body = {"Container": "c", "EndpointConfig": settings}
    assert await refusal(socket, body, path="/networks/bridge/connect") == (404, "No such container: c")


def _raw(path: str, request: bytes, *, cut: bool = False) -> bytes:
    """Everything the server sends until it closes. cut: end our side after the request."""
    with sockets.socket(sockets.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(path)
        with suppress(BrokenPipeError):
            client.sendall(request)
        if cut:
            client.shutdown(sockets.SHUT_WR)
        received = b""
        while part := client.recv(65536):
            received += part
        return received


async def test_what_is_not_http(socket: str) -> None:
    answer = await beside(_raw, socket, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert b'{"message":"malformed HTTP request"}' in answer


async def test_a_truncated_body_creates_nothing(socket: str, engine: FakeEngine) -> None:
    head = b"POST /networks/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    await beside(_raw, socket, head + b'{"Name":"half"}', cut=True)
    assert engine.network_named("half") is None
    assert (await ask(socket, "GET", "/_ping")).status == 200


async def test_a_header_that_never_ends(socket: str) -> None:
    answer = await beside(_raw, socket, b"GET /_ping HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 431 ")
    assert b'{"message":"request header fields too large"}' in answer


@pytest.mark.parametrize(
    ("query", "message"),
    [("filters=%zz", 'invalid URL escape "%zz"'), ("a;b", "invalid semicolon separator in query")],
)
async def test_bad_queries(socket: str, query: str, message: str) -> None:
    answer = await ask(socket, "GET", f"/networks?{query}")
    assert (answer.status, answer.json["message"]) == (400, message)
