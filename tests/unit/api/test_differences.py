"""docs/docker-differences.md and the replay's table of differences say the same; the replay itself can fail."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.differences import DIFFERENCES
from tests.support.fake_engine import FakeEngine
from tests.support.replay import replay, scenarios
from tests.support.served import beside, served

DOCUMENT = Path(__file__).parents[3] / "docs" / "docker-differences.md"
ROW = re.compile(r"^\| ([^|]+?) \| (\d+) \|", re.MULTILINE)


def test_the_document_lists_every_difference_of_the_replay() -> None:
    table = DOCUMENT.read_text().partition("| Scenario | Step |")[2].partition("\n\n")[0]
    listed = {(scenario, int(step)) for scenario, step in ROW.findall(table)}
    assert listed == set(DIFFERENCES)


def test_every_difference_has_a_reason_and_is_one() -> None:
    recorded = scenarios()
    for (scenario, step), difference in DIFFERENCES.items():
        docker = recorded[scenario][step]
        assert difference.reason
        assert (difference.status, difference.body) != (docker["status"], docker["body"])


def _step(status: int = 200, body: Any = "OK", **headers: str) -> dict[str, Any]:
    (ping,) = scenarios()["ping and unknown paths"][:1]
    return {**ping, "status": status, "body": body, "headers": {**ping["headers"], **headers}}


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        (_step(status=204), "status 200, not 204"),
        (_step(body="NO"), "body is 'OK', not 'NO'"),
        (_step(swarm="active"), "header swarm is 'inactive', not 'active'"),
        (_step(location="/"), "header location is None, not '/'"),
    ],
)
async def test_the_replay_notices(step: dict[str, Any], complaint: str) -> None:
    async with served(FakeEngine()) as socket:
        (found,) = await beside(replay, socket, [step], {})
    assert complaint in found


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"Driver": "overlay"}, ".Driver is 'bridge', not 'overlay'"),
        ({"Id": "{id:unknown}"}, ".Id is "),
        ({"Created": "yesterday"}, ".Created is "),
        ({"Internal": 0}, ".Internal is False, not 0"),
        ({"More": 1}, "body has ["),
        ({"IPAM": {"Driver": "default", "Options": None, "Config": []}}, ".IPAM.Config is "),
    ],
)
async def test_the_replay_compares_bodies_field_by_field(change: dict[str, Any], complaint: str) -> None:
    step = scenarios()["predefined networks"][0]
    async with served(FakeEngine()) as socket:
        (found,) = await beside(replay, socket, [{**step, "body": {**step["body"], **change}}], {})
    assert complaint in found
