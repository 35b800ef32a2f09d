"""Where Towline answers otherwise than the recorded Docker, on purpose: (scenario, step) -> what, and why.

docs/docker-differences.md tells the user the same; tests/unit/api/test_differences.py holds them together.
"""

from __future__ import annotations

from tests.support.differences_endpoints import ENDPOINT_DIFFERENCES
from tests.support.differences_swarm import SWARM_DIFFERENCES
from tests.support.replay import Difference

DIFFERENCES: dict[tuple[str, int], Difference] = {
    ("refused bodies", 40): Difference(
        500,
        {
            "message": "numerical result out of range: bridge name 'averyveryverylongbridge' is longer than "
            "an interface name may be (15 bytes)"
        },
        "the message also says what is wrong with the name",
    ),
    ("refused bodies", 42): Difference(
        500,
        {
            "message": "invalid argument: bridge name 'a/b' may not hold '/', ':', '%', '*', double quotes, blanks or"
            " control characters, or be '.' or '..'"
        },
        "the message also says what is wrong with the name",
    ),
    ("refused bodies", 86): Difference(
        500,
        {"message": "failed to allocate secondary ip address (b:10.5.0.9): Address already in use"},
        "Docker names one of the two at random, Towline the second",
    ),
    **ENDPOINT_DIFFERENCES,
    **SWARM_DIFFERENCES,
}


def of(scenario: str) -> dict[int, Difference]:
    return {step: difference for (name, step), difference in DIFFERENCES.items() if name == scenario}
