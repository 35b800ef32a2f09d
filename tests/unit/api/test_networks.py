"""/networks beside the recorded answers: what only Towline has, endpoints, faults, clients that go away."""

from __future__ import annotations

import asyncio
import socket as sockets
from urllib.parse import quote

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.served import ask
from towline.api.wire_out import rfc3339_nano
from towline.model.endpoint import Endpoint
from towline.model.errors import Conflict, KernelError, StoreError, TowlineError, Unavailable

NAMED_WEB = "/networks/create", {"Name": "web"}


@pytest.mark.parametrize(("query", "waits"), [("", False), ("?wait=1", True), ("?wait=true", True), ("?wait=0", False)])
async def test_wait_reaches_the_engine(socket: str, engine: FakeEngine, query: str, waits: bool) -> None:
    await ask(socket, "POST", f"/networks/create{query}", {"Name": "web"})
    await ask(socket, "DELETE", f"/networks/web{query}")
    await ask(socket, "POST", f"/networks/prune{query}")
    assert engine.waited == [waits] * 3


async def test_wait_must_be_a_bool(socket: str) -> None:
    answer = await ask(socket, "DELETE", "/networks/web?wait=soon")
    assert answer.status == 400
    assert answer.json["message"].startswith("invalid value for wait: soon: strconv.ParseBool")


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        (KernelError(16, "create bridge br-1"), 500, "create bridge br-1: device or resource busy"),
        (StoreError("the disk is full"), 500, "the disk is full"),
        (Conflict("a prune operation is already running"), 409, "a prune operation is already running"),
        (Unavailable("later"), 503, "later"),
        (RuntimeError("secret"), 500, "internal error: see the daemon's log"),
    ],
)
async def test_faults_of_the_engine(
    socket: str, engine: FakeEngine, fault: Exception, status: int, message: str
) -> None:
    engine.fault = fault
    answer = await ask(socket, "POST", *NAMED_WEB)
    assert (answer.status, answer.json) == (status, {"message": message})
    assert isinstance(fault, TowlineError) or "secret" not in answer.body.decode()


async def test_endpoints_are_shown_named_and_keep_a_network_in_use(socket: str, engine: FakeEngine) -> None:
    network_id = (await ask(socket, "POST", *NAMED_WEB)).json["Id"]
    engine.attach(Endpoint("e" * 64, "c1", network_id, "", "02:42:00:00:00:02", "172.18.0.2/16"))
    shown = {
        "Name": "c1",
        "EndpointID": "e" * 64,
        "MacAddress": "02:42:00:00:00:02",
        "IPv4Address": "172.18.0.2/16",
        "IPv6Address": "",
    }
    assert (await ask(socket, "GET", "/networks/web")).json["Containers"] == {f"ep-{'e' * 64}": shown}
    listed = await ask(socket, "GET", "/v1.27/networks?filters=" + quote('{"name":["web"]}'))
    assert listed.json[0]["Containers"] == {f"ep-{'e' * 64}": shown}
    removal = await ask(socket, "DELETE", "/networks/web")
    assert removal.status == 403
    assert removal.json["message"].endswith(f'network web has active endpoints (name:"c1" id:"{"e" * 12}")')
    assert (await ask(socket, "GET", "/networks?filters=" + quote('{"dangling":["true"]}'))).json == []
    assert (await ask(socket, "POST", "/networks/prune")).json == {"NetworksDeleted": None}


async def test_a_removed_network_made_again_is_shown_anew(socket: str) -> None:
    await ask(socket, "POST", "/networks/create", {"Name": "web", "Labels": {"b": "1", "a": "2"}})
    before = await ask(socket, "GET", "/networks/web")
    await ask(socket, "DELETE", "/networks/web")
    await ask(socket, "POST", "/networks/create", {"Name": "web"})
    after = await ask(socket, "GET", "/networks/web")
    assert list(before.json["Labels"].items()) == [("a", "2"), ("b", "1")]
    assert after.json["Labels"] == {}
    assert after.json["Id"] != before.json["Id"]


async def test_output_is_compact_unescaped_and_ends_with_a_newline(socket: str) -> None:
    await ask(socket, "POST", "/networks/create", {"Name": "<&>ü"})
    body = (await ask(socket, "GET", "/networks/" + quote("<&>ü"))).body
    assert body.startswith('{"Name":"<&>ü","Id":"'.encode())
    assert body.endswith(b"}\n")


async def test_one_name_from_many_clients_at_once_has_one_winner(socket: str) -> None:
    answers = await asyncio.gather(*(ask(socket, "POST", *NAMED_WEB) for _ in range(50)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 49


async def test_a_client_that_goes_away_does_not_hold_its_handler(socket: str, engine: FakeEngine) -> None:
    engine.gate.clear()
    before = asyncio.all_tasks()
    with sockets.socket(sockets.AF_UNIX) as client:
        client.connect(socket)
        client.sendall(b"POST /networks/prune HTTP/1.1\r\nHost: d\r\n\r\n")
        while not engine.waited:
            await asyncio.sleep(0)
        handlers = asyncio.all_tasks() - before
    done, waiting = await asyncio.wait(handlers, timeout=10)
    assert done
    assert not waiting


async def test_ambiguous_prefixes(socket: str, engine: FakeEngine) -> None:
    for number in range(17):
        await ask(socket, "POST", "/networks/create", {"Name": f"n{number}", "ConfigOnly": True})
    digits = [network.id[0] for network in engine.networks()]
    digit = next(d for d in digits if digits.count(d) > 1)
    count = digits.count(digit)
    got = await ask(socket, "GET", f"/networks/{digit}")
    removed = await ask(socket, "DELETE", f"/networks/{digit}")
    assert (got.status, removed.status) == (400, 400)
    assert got.json["message"] == f"{count} matches found based on ID prefix: network {digit} is ambiguous"
    assert removed.json["message"] == f"network {digit} is ambiguous ({count} matches found based on ID prefix)"


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000_123_000_000, "2023-11-14T22:13:20.123Z"),
        (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
    ],
)
def test_times_are_written_as_go_does(moment: int, text: str) -> None:
    assert rfc3339_nano(moment) == text
