"""Restart policies: Docker's decisions and pauses, as a script of ends."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.model.errors import InvalidParameter
from towline.runtime.policy import Backoff, Decision, RestartPolicy, after_exit, at_daemon_start, parse_restart


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", RestartPolicy()),
        ("no", RestartPolicy()),
        ("always", RestartPolicy("always")),
        ("unless-stopped", RestartPolicy("unless-stopped")),
        ("on-failure", RestartPolicy("on-failure")),
        ("on-failure:0", RestartPolicy("on-failure")),
        ("on-failure:3", RestartPolicy("on-failure", 3)),
        ("always:0", RestartPolicy("always")),
    ],
)
def test_what_is_understood(text: str, policy: RestartPolicy) -> None:
    assert parse_restart(text) == policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sometimes", "unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"),
        ("Always", "unknown policy 'Always'"),
        (":3", "no name"),
        ("on-failure:", "must be an integer"),
        ("on-failure:x", "must be an integer"),
        ("on-failure:1:2", "must be an integer"),
        ("on-failure:--1", "must be an integer"),
        ("on-failure:٣", "must be an integer"),
        ("on-failure:" + "9" * 5000, "must be an integer"),
        ("on-failure:-1", "cannot be negative"),
        ("always:2", "can only be used with 'on-failure'"),
        ("no:1", "can only be used with 'on-failure'"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        parse_restart(text)


@given(st.text() | st.from_regex(r"(no|always|on-failure|unless-stopped):.*"))
def test_any_text_is_a_policy_or_an_invalid_parameter(text: str) -> None:
    with suppress(InvalidParameter):
        assert parse_restart(text).maximum >= 0


def pauses(policy: str, ends: list[tuple[int, float]]) -> list[float | None]:
    """The pause after each (code, seconds it ran)."""
    backoff, found = Backoff(), []
    for code, ran in ends:
        decision = after_exit(parse_restart(policy), backoff, code=code, ran=ran, stopped=False)
        backoff = decision.backoff
        found.append(decision.pause)
    return found


def test_pauses_double_to_a_minute_and_a_healthy_run_starts_again() -> None:
    quick = pauses("always", [(1, 0.1)] * 12)
    assert quick == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0])
    assert pauses("always", [(0, 0.1), (0, 9.99), (0, 10.0), (0, 0.1)]) == pytest.approx([0.1, 0.2, 0.1, 0.2])


def test_who_is_started_again() -> None:
    assert pauses("no", [(1, 1.0)]) == [None]
    assert pauses("unless-stopped", [(0, 1.0)]) == [0.1]
    assert pauses("on-failure", [(1, 1.0), (0, 1.0)]) == [0.1, None]
    assert pauses("on-failure:2", [(1, 20.0)] * 4) == [0.1, 0.1, None, None]


@pytest.mark.parametrize("policy", ["no", "always", "unless-stopped", "on-failure"])
def test_a_user_who_stops_it_is_obeyed(policy: str) -> None:
    backoff = Backoff(0.4, 3)
    decision = after_exit(parse_restart(policy), backoff, code=137, ran=1.0, stopped=True)
    assert decision == Decision(None, backoff)


@pytest.mark.parametrize(
    ("policy", "code", "restarts", "stopped", "start"),
    [
        ("no", 255, 0, False, False),
        ("always", 0, 9, False, True),
        ("always", 0, 0, True, True),
        ("unless-stopped", 255, 0, False, True),
        ("unless-stopped", 255, 0, True, False),
        ("on-failure", 255, 7, False, True),
        ("on-failure", 0, 0, False, False),
        ("on-failure", 255, 0, True, False),
        ("on-failure:3", 255, 3, False, False),
    ],
)
def test_at_daemon_start(policy: str, code: int, restarts: int, stopped: bool, start: bool) -> None:
    assert at_daemon_start(parse_restart(policy), code=code, restarts=restarts, stopped=stopped) is start
