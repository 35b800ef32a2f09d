"""Docker's recorded answers, replayed against the API over the fake engine."""

from __future__ import annotations

import pytest

from tests.support import differences
from tests.support.fake_engine import FakeEngine
from tests.support.replay import replay, scenarios
from tests.support.served import beside, served

SCENARIOS = scenarios()
del SCENARIOS["one node"]  # needs a cluster: test_swarm.py, tests/e2e/test_recorded_swarm.py


@pytest.mark.parametrize("name", SCENARIOS)
async def test_answers_as_docker_did(name: str) -> None:
    async with served(FakeEngine()) as socket:
        assert await beside(replay, socket, SCENARIOS[name], differences.of(name)) == []
