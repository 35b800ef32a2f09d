"""The load that both engines get: is what it sends what it says, and does it notice a wrong answer?"""

from __future__ import annotations

import socket
import threading

import dns.message
import dns.rcode
import dns.rrset
import pytest
from bench import load
from bench.boxes import FIRST_PORT, Box


def test_a_question_is_one_that_others_understand() -> None:
    message = dns.message.from_wire(load.question("db.web", 7))
    assert message.id == 7
    assert message.question[0].to_text() == "db.web. IN A"


def test_only_an_answer_with_a_record_counts() -> None:
    query = dns.message.from_wire(load.question("db"))
    response = dns.message.make_response(query)
    assert not load.is_answer(response.to_wire())
    response.answer = [dns.rrset.from_text("db.", 60, "IN", "A", "192.0.2.1")]
    assert load.is_answer(response.to_wire())
    response.set_rcode(dns.rcode.SERVFAIL)
    assert not load.is_answer(response.to_wire())
    assert not load.is_answer(load.question("db"))
    assert not load.is_answer(b"")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """`load.serve` on free ports: stream, echo."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            ports.append(probe.getsockname()[1])
    monkeypatch.setattr(load, "STREAM", ports[0])
    monkeypatch.setattr(load, "ECHO", ports[1])
    ready = threading.Event()
    monkeypatch.setattr("builtins.print", lambda *_, **__: ready.set())
    threading.Thread(target=load.serve, daemon=True).start()
    assert ready.wait(5)
    return ports[0], ports[1]


def test_clients_measure_what_the_server_takes_and_echoes(server: tuple[int, int]) -> None:
    assert load.throughput("127.0.0.1", server[0], 0.05) > 0
    assert load.transactions("127.0.0.1", server[1], 0.05) > 0


def test_published_ports_count_up_from_the_first() -> None:
    assert list(Box("db", "web", (80, 443)).published) == [(FIRST_PORT, 80), (FIRST_PORT + 1, 443)]
