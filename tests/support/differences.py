"""Where Towline answers otherwise than the recorded Docker, on purpose: (scenario, step) -> what, and why.

docs/docker-differences.md tells the user the same; tests/unit/test_api_differences.py holds them together.
"""

from __future__ import annotations

from tests.support.replay import Difference

DIFFERENCES: dict[tuple[str, int], Difference] = {}


def of(scenario: str) -> dict[int, Difference]:
    return {step: difference for (name, step), difference in DIFFERENCES.items() if name == scenario}
