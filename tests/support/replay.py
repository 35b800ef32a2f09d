"""Plays Docker's recorded answers against a server and compares status, headers and body, field by field."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import replay_containers
from tests.support.daemon import UnixConnection

RECORDED = Path(__file__).parents[1] / "data" / "docker-recorded.jsonl"
RECORDED_ULA = "fd7a:65b3:b3df"

_ULA = re.compile(r"\bfd[0-9a-f]{2}:[0-9a-f]{1,4}:[0-9a-f]{1,4}(?=:)")
_SAVED = re.compile(r"\{(id|short|id4|id8):([^}]+)\}")
_LENGTHS = {"id": 64, "short": 12, "id4": 4, "id8": 8}
_ANY = {
    "{hex64}": r"[0-9a-f]{64}",
    "{hex12}": r"[0-9a-f]{12}",
    "{mac}": r"[0-9a-f][26ae](:[0-9a-f]{2}){5}",
    "{netns}": r"/\S+/[0-9a-f]{12}",
    "{port}": r"[1-9]\d{3,4}",
    "{time}": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)",
    "{unix}": r"\d{10}",
    "{nano}": r"\d{19}",
    "{id25}": r"[0-9a-z]{25}",
    "{name12}": r"[0-9a-z]{12}",
    "{token}": r"SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}",
    "{pem}": r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n",
    "{base64}": r"[A-Za-z0-9+/]+={0,2}",
    "{count}": r"\d+",
    "{word}": r"[\w.+-]+",
}
_PLACEHOLDER = re.compile("|".join(re.escape(name) for name in _ANY))


class Difference(NamedTuple):
    """A step that Towline answers otherwise, on purpose. status and body: what it answers instead."""

    status: int
    body: Any
    reason: str


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def scenarios() -> dict[str, list[dict[str, Any]]]:
    with RECORDED.open() as lines:
        return {entry["scenario"]: entry["steps"] for entry in map(json.loads, lines)}


def replay(socket: str, steps: Sequence[Mapping[str, Any]], differences: Mapping[int, Difference]) -> list[str]:
    """Play the steps on the unix socket; one line for each field that is not as recorded or as the difference says."""
    player = _Player(socket)
    found: list[str] = []
    for number, step in enumerate(steps):
        place = f"step {number} {step['do']['method']} {step['do']['url']}"
        found += [f"{place}: {what}" for what in player.step(step, differences.get(number))]
    return found


class _Player:
    def __init__(self, socket: str) -> None:
        self._connection = UnixConnection(socket)
        self._ids: dict[str, str] = {}
        self._began = int(time.time())

    def step(self, step: Mapping[str, Any], difference: Difference | None) -> Iterator[str]:
        do = step["do"]
        answer = self._send_sandbox(do) if "container" in do else self._send(do)
        if difference is not None:
            step = {**step, "status": difference.status, "body": difference.body}
        body = _only(do.get("only"), _decode(answer, step["body"]))
        if (name := step["do"].get("save")) and isinstance(body, dict) and "Id" in body:
            self._ids[name] = body["Id"]
        if answer.status != step["status"]:
            yield f"status {answer.status}, not {step['status']}: {answer.body[:300]!r}"
            return
        if "container" not in do:
            yield from _compare_headers(_headers(step, difference), answer.headers)
        yield from self._compare("", step["body"], body)

    def _send(self, do: Mapping[str, Any]) -> Answer:
        headers = dict(do.get("headers", {}))
        body: bytes | None = None
        if "raw" in do:
            body = do["raw"].encode()
        elif "body" in do:
            body = self._fill(json.dumps(do["body"])).encode()
            headers.setdefault("Content-Type", "application/json")
        self._connection.request(do["method"], self._fill(do["url"]), body, headers)
        return _answer(self._connection.getresponse())

    def _send_sandbox(self, do: Mapping[str, Any]) -> Answer:
        for method, path, body in replay_containers.requests(do):
            data = None if body is None else json.dumps(body).encode()
            self._connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            last = _answer(self._connection.getresponse())
        decoded = json.loads(last.body) if last.body else ""
        status, shown = replay_containers.as_docker(do, last.status, decoded)
        return Answer(status, last.headers, b"" if shown == "" else json.dumps(shown).encode())

    def _fill(self, text: str) -> str:
        text = text.replace("{t0}", str(self._began)).replace("{now}", f"{time.time():.9f}")
        return _SAVED.sub(lambda m: self._ids.get(m[2], m[0])[: _LENGTHS[m[1]]], text)

    def _compare(self, place: str, expected: Any, actual: Any) -> Iterator[str]:
        if isinstance(expected, dict) and isinstance(actual, dict):
            expected = {self._fill(key): value for key, value in expected.items()}
            if list(expected) != list(actual):
                yield f"{place or 'body'} has {list(actual)}, not {list(expected)}"
            for key in expected.keys() & actual.keys():
                yield from self._compare(f"{place}.{key}", expected[key], actual[key])
        elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
            for index, (want, got) in enumerate(zip(_ordered(expected), _ordered(actual), strict=True)):
                yield from self._compare(f"{place}[{index}]", want, got)
        elif not self._same(expected, actual):
            yield f"{place or 'body'} is {actual!r}, not {expected!r}"

    def _same(self, expected: Any, actual: Any) -> bool:
        if expected == actual and type(expected) is type(actual):
            return True
        if expected == "{port}" and type(actual) is int:
            actual = str(actual)
        if not isinstance(expected, str):
            return False
        filled = self._fill(expected)
        pattern = _PLACEHOLDER.sub(lambda m: f"\0{m[0]}\0", re.sub(r"\(\d+\.\d{9}\)", "(NOW)", filled))
        parts = [_ANY.get(part, re.escape(part)) for part in pattern.split("\0")]
        return re.fullmatch("".join(parts), re.sub(r"\(\d+\.\d{9}\)", "(NOW)", str(actual))) is not None


def _answer(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def _decode(answer: Answer, expected: Any) -> Any:
    text = _ULA.sub(RECORDED_ULA, answer.body.decode())
    if not text or (isinstance(expected, str) and not text.startswith('"')):
        return text
    if "jsonl" not in answer.headers.get("content-type", ""):
        return json.loads(text)
    lines = [json.loads(line) for line in text.splitlines()]
    return lines[0] if len(lines) == 1 else lines


def _tracked() -> frozenset[str]:
    return frozenset(name for steps in scenarios().values() for step in steps for name in step["headers"])


_TRACKED = _tracked()


def _headers(step: Mapping[str, Any], difference: Difference | None) -> Mapping[str, str]:
    """What is answered instead of an empty body is JSON."""
    headers: dict[str, str] = dict(step["headers"])
    if difference is not None and difference.body == "":
        headers.pop("content-type", None)
    elif difference is not None:
        headers.setdefault("content-type", "application/json")
    return headers


def _compare_headers(expected: Mapping[str, str], actual: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(_TRACKED):
        if expected.get(name) != actual.get(name):
            yield f"header {name} is {actual.get(name)!r}, not {expected.get(name)!r}"


def _ordered(items: list[Any]) -> list[Any]:
    """Docker lists networks and ports in random order; event order and pool order are meant."""
    for member, key in (("Driver", "Name"), ("PrivatePort", "PrivatePort")):
        if items and all(isinstance(item, dict) and member in item for item in items):
            return sorted(items, key=lambda item: (str(item[key]), str(item.get("IP"))))
    return items


def _only(member: str | None, body: Any) -> Any:
    """The part of an answer that was recorded; of a list's elements their names too."""
    if member is None:
        return body
    if isinstance(body, list):
        return [{name: item[name] for name in ("Names", member)} for item in body]
    return {member: body[member]} if member in body else body
