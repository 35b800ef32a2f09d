"""Docker's recorded answers, replayed against a real daemon: each scenario on a daemon of its own."""

from __future__ import annotations

import pytest

from tests.support import differences
from tests.support.daemon import fresh_daemon
from tests.support.replay import replay, scenarios

SCENARIOS = scenarios()
del SCENARIOS["one node"]  # test_recorded_swarm.py
POOL = ("--default-address-pool", "base=10.0.0.0/8,size=24")  # as on the recorded host


@pytest.mark.parametrize("name", SCENARIOS)
def test_answers_as_docker_did(name: str) -> None:
    with fresh_daemon(*POOL) as daemon:
        daemon.start()
        assert replay(daemon.socket, SCENARIOS[name], differences.of(name)) == []
