from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.cli.errors import UsageError
from towline.cli.times import local, timestamp

NOW = 1_738_317_600_000_000_000


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", ""),
        ("1738317600", "1738317600"),
        ("1738317600.5", "1738317600.5"),
        ("10m", "1738317000.000000000"),
        ("1h30m", "1738312200.000000000"),
        ("1.5s", "1738317598.500000000"),
        ("-1s", "1738317601.000000000"),
        ("0s", "1738317600.000000000"),
        ("5ms", "1738317599.995000000"),
        ("2025-01-31T10:00:00Z", "1738317600.000000000"),
        ("2025-01-31T12:00:00+02:00", "1738317600.000000000"),
    ],
)
def test_times(text: str, want: str) -> None:
    assert timestamp(text, NOW) == want


@pytest.mark.parametrize(
    "text", ["x", "1m2", "m", "1..5s", "10x", "2025-13-01", "99999999999999h", "1900-01-01T00:00:00Z"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        timestamp(text, NOW)


@given(st.text(alphabet="0123456789.hmsnuµ-TZ:+ ", max_size=20))
def test_any_text_ends_in_a_time_or_a_usage_error(text: str) -> None:
    try:
        timestamp(text, NOW)
    except UsageError:
        return


def test_local_time_has_nine_digits_and_a_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    for zone, want in (("UTC", "2025-01-31T10:00:00.000000007Z"), ("XXX-2:30", "2025-01-31T12:30:00.000000007+02:30")):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert local(NOW + 7) == want
    monkeypatch.undo()
    time.tzset()
    assert local(10**30) == f"{10**21}.000000000"
