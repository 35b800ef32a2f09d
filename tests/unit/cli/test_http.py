"""The HTTP client against answers that are right, odd, malformed, endless and cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.cli import http
from towline.cli.errors import Unreachable


class Canned:
    """A channel that hands out bytes in pieces of a given size."""

    def __init__(self, data: bytes, size: int = 65536) -> None:
        self.data = data
        self.size = size

    def sendall(self, data: bytes, /) -> None:
        raise AssertionError("nothing is sent here")

    def recv(self, size: int, /) -> bytes:
        count = min(size, self.size)
        piece, self.data = self.data[:count], self.data[count:]
        return piece

    def close(self) -> None:
        return None


def body(data: bytes, size: int = 65536) -> bytes:
    return http.read_response(Canned(data, size)).body()


GOOD = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellorest", b"hello"),
    (b"HTTP/1.1 200\nContent-Length: 2\n\nok", b"ok"),
    (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b""),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x"),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
        b"abc0123456789",
    ),
    (b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", b""),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", b"ok"),
]


@pytest.mark.parametrize(("data", "want"), GOOD)
@pytest.mark.parametrize("size", [1, 2, 7, 65536])
def test_reads_however_the_bytes_arrive(data: bytes, want: bytes, size: int) -> None:
    assert body(data, size) == want


MALFORMED = [
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n" + b"x" * 10,
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
    b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: a\r\n" * 1000,
]


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_answers_are_named(data: bytes) -> None:
    with pytest.raises(Unreachable, match="not HTTP as it should be"):
        body(data)


@pytest.mark.parametrize("data", [data for data, _ in GOOD if b"until" not in data])
def test_an_answer_cut_anywhere_is_no_answer(data: bytes) -> None:
    want = body(data)
    for cut in range(len(data)):
        try:
            assert body(data[:cut]) == want
        except Unreachable as error:
            assert "in the middle of its answer" in error.message  # noqa: PT017


def test_a_body_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_BODY", 1000)
    with pytest.raises(Unreachable, match="longer than 1000 bytes"):
        body(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000)
    with pytest.raises(Unreachable, match="line is too long"):
        list(http.read_response(Canned(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000)).lines())


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(1, 50))
def test_lines_do_not_depend_on_chunks(pieces: list[bytes], size: int) -> None:
    framed = b"".join(f"{len(piece):X}\r\n".encode() + piece + b"\r\n" for piece in pieces)
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"
    got = list(http.read_response(Canned(data, size)).lines())
    whole = b"".join(pieces).split(b"\n")
    assert got == (whole if whole[-1] else whole[:-1])


@given(st.binary(max_size=300))
def test_noise_never_escapes_as_another_error(noise: bytes) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        try:
            body(start + noise)
        except Unreachable:
            continue


def test_a_request_says_what_follows() -> None:
    assert http.encode_request("POST", "/x", "towline", b"{}").endswith(
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert b"Content-Length: 0\r\n" in http.encode_request("POST", "/x", "towline", None)
    assert b"Content-" not in http.encode_request("GET", "/x", "towline", None)
