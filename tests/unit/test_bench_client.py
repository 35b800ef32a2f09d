from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.client import BadReply, Client, parse_reply, request_bytes, send_all

LENGTH = b'HTTP/1.1 201 Created\r\nContent-Length: 13\r\n\r\n{"Id":"a1b2"}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\nA\r\n2222222222\r\n1\r\n]\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status", "body"),
    [(LENGTH, 201, b'{"Id":"a1b2"}'), (CHUNKED, 200, b"[1,2222222222]"), (EMPTY, 204, b"")],
)
def test_a_reply_is_complete_with_its_last_byte_and_not_before(data: bytes, status: int, body: bytes) -> None:
    assert all(parse_reply(data[:end]) is None for end in range(len(data)))
    reply = parse_reply(data)
    assert reply is not None
    assert (reply.status, reply.body) == (status, body)


def test_requests_say_how_long_their_body_is() -> None:
    assert request_bytes("DELETE", "/networks/a") == b"DELETE /networks/a HTTP/1.1\r\nHost: bench\r\n\r\n"
    assert b"Content-Length: 2\r\n" in request_bytes("POST", "/networks/create", b"{}")


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[str]:
    """A server that answers each request with its target; `/bye` makes it hang up."""
    path = str(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(32)

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(4096):
                target = data.split(b" ")[1]
                if target == b"/bye":
                    return
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(target), target))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield path
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_one_connection_serves_many_requests(echo: str) -> None:
    with Client(echo) as client:
        assert [client.send(request_bytes("GET", f"/{n}")).body for n in range(3)] == [b"/0", b"/1", b"/2"]


def test_an_unexpected_status_is_an_error_with_the_body(echo: str) -> None:
    with Client(echo) as client, pytest.raises(BadReply, match="200 instead of 201: /x"):
        client.expect(201, request_bytes("GET", "/x"))


def test_many_clients_get_every_reply_once(echo: str) -> None:
    replies = send_all(echo, (request_bytes("GET", f"/{n}") for n in range(50)), clients=16)
    assert sorted(int(reply.body[1:]) for reply in replies) == list(range(50))


def test_fewer_requests_than_clients(echo: str) -> None:
    assert len(send_all(echo, [request_bytes("GET", "/a")], clients=16)) == 1


def test_a_hang_up_is_an_error(echo: str) -> None:
    with pytest.raises(BadReply, match="closed"):
        send_all(echo, [request_bytes("GET", "/bye")], clients=2)
