"""When a command that ended is started again, and after what pause: Docker's rules (moby restartmanager), as values."""

from __future__ import annotations

from typing import Literal

import msgspec

from towline.model.errors import InvalidParameter

Kind = Literal["no", "always", "unless-stopped", "on-failure"]

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 60.0
HEALTHY = 10.0
"""Seconds. A run of at least HEALTHY starts the pauses again from the first."""


class RestartPolicy(msgspec.Struct, frozen=True):
    """maximum: restarts in a row for on-failure; 0: no limit."""

    kind: Kind = "no"
    maximum: int = 0


class Backoff(msgspec.Struct, frozen=True):
    """What is remembered from one end of the command to the next. pause: seconds, 0 before the first.

    restarts: since the user started it. Belongs to one start by the user: a new one begins with `Backoff()`.
    """

    pause: float = 0.0
    restarts: int = 0


class Decision(msgspec.Struct, frozen=True):
    """pause: seconds until the command is started again; None: it stays as it is."""

    pause: float | None
    backoff: Backoff


def parse_restart(text: str) -> RestartPolicy:
    """ "no", "always", "unless-stopped", "on-failure[:n]"; "" is "no". InvalidParameter with Docker's texts."""
    kind, colon, count = text.partition(":")
    if colon and not kind:
        raise InvalidParameter("invalid restart policy format: no name")
    if colon and not _is_integer(count):
        raise InvalidParameter("invalid restart policy format: maximum retry count must be an integer")
    maximum = int(count) if colon else 0
    match kind:
        case "" | "no" | "always" | "unless-stopped" if maximum:
            raise InvalidParameter("invalid restart policy: maximum retry count can only be used with 'on-failure'")
        case "" | "no":
            return RestartPolicy()
        case "always" | "unless-stopped":
            return RestartPolicy(kind)
        case "on-failure" if maximum < 0:
            raise InvalidParameter("invalid restart policy: maximum retry count cannot be negative")
        case "on-failure":
            return RestartPolicy(kind, maximum)
    raise InvalidParameter(
        f"invalid restart policy: unknown policy {kind[:80]!a}; use one of 'no', 'always', 'on-failure', or "
        "'unless-stopped'"
    )


def after_exit(policy: RestartPolicy, backoff: Backoff, *, code: int, ran: float, stopped: bool) -> Decision:
    """The command ended with `code` after `ran` seconds. stopped: because the user stopped it."""
    if stopped or not _wants(policy, code, backoff.restarts):
        return Decision(None, backoff)
    pause = FIRST_PAUSE if ran >= HEALTHY or not backoff.pause else min(backoff.pause * 2, LONGEST_PAUSE)
    return Decision(pause, Backoff(pause, backoff.restarts + 1))


def at_daemon_start(policy: RestartPolicy, *, code: int, restarts: int, stopped: bool) -> bool:
    """Whether a sandbox found without its process is started when the daemon starts. As in Docker, `always` means also
    one that the user had stopped; the others are left stopped then."""
    if stopped and policy.kind != "always":
        return False
    return _wants(policy, code, restarts)


def _wants(policy: RestartPolicy, code: int, restarts: int) -> bool:
    match policy.kind:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            return code != 0 and (policy.maximum == 0 or restarts < policy.maximum)
        case "no":
            return False


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-").removeprefix("+") if text[:1] in ("-", "+") else text
    return digits.isascii() and digits.isdigit() and len(digits) < 10
