"""The state machine of a migration: who may commit what, and what each node does next.

Nothing here remembers. A node's next step is a function of the committed record and of what the node finds at itself;
so a daemon that was killed at any instant goes on, or undoes, by asking again. A record changes by compare-and-swap
(`advance`), therefore `switched` and `aborted` exclude each other however late a message comes. The source lets its
process go on only after `aborted`, the target only after `switched`: there are never two.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from towline.model.errors import Conflict, Forbidden, InvalidParameter
from towline.model.migration import Migration, MigrationState, Role, SourceFacts, TargetFacts

_WHO: dict[tuple[MigrationState, MigrationState], Role] = {
    ("planned", "reserved"): "target",
    ("reserved", "prepared"): "target",
    ("prepared", "frozen"): "source",
    ("frozen", "switched"): "target",
    ("switched", "live"): "target",
    ("live", "done"): "source",
}
_BEFORE_SWITCH: tuple[MigrationState, ...] = ("planned", "reserved", "prepared", "frozen")
_DIGEST = 64
LONGEST_REASON = 1024


class Act(Enum):
    """What a node does at itself. Each is idempotent, and for the objects of one epoch only."""

    # source
    LOCK = "lock"
    """Nothing in, nothing out: no RST is sent, arriving frames are held."""
    FREEZE = "freeze"
    """Checkpoint; the process stays, stopped, until the migration has ended."""
    SEND = "send"
    FORWARD = "forward"
    """Held frames and stragglers go to the target."""
    UNLOCK = "unlock"
    THAW = "thaw"
    KILL = "kill"
    TEAR_DOWN = "tear down"
    """The endpoint's part of the kernel, once every interested node has confirmed the switch."""
    # target
    RESERVE = "reserve"
    PREPARE = "prepare"
    RESTORE = "restore"
    OPEN = "open"
    RELEASE = "release"
    """`released` is kept first, then the process goes on."""
    DESTROY = "destroy"
    REMOVE = "remove"
    UNRESERVE = "unreserve"
    # both
    DISCARD = "discard"
    """The images."""


class Commit(msgspec.Struct, frozen=True):
    """The record is to go to this state."""

    to: MigrationState
    reason: str = ""


class Move(msgspec.Struct, frozen=True):
    """What a node or an operator asks of the record. id, epoch, next: of the migration that is meant; came_from: the
    state that the asker believes in. Everything in it is a stranger's word."""

    id: str
    epoch: int
    next: int
    came_from: MigrationState
    to: MigrationState
    digest: str = ""
    reason: str = ""


Step = Act | Commit | None
"""None: nothing to do until the record or the facts change."""


def advance(migration: Migration, move: Move, node: str, now: int, *, manager: bool = False) -> Migration:
    """The record after a move that `node` asks for. now: nanoseconds since the epoch.

    A move that was made already gives the record as it is: asking twice is harmless. manager: an operator's word;
    abort is all that it can be. Raises Conflict for another migration, another epoch or another state (the text says
    which), and for an abort after the switch; Forbidden for a node whose move it is not; InvalidParameter.
    """
    if move.id != migration.id:
        raise Conflict(
            f"migration {move.id[:64]} is not the one of sandbox {migration.sandbox}: that is {migration.id}"
        )
    if (move.epoch, move.next) != (migration.epoch, migration.next):
        raise Conflict(
            f"migration {migration.id} is from epoch {migration.epoch} to {migration.next}, not from {move.epoch} to"
            f" {move.next}"
        )
    _check_role(migration, move, node, manager=manager)
    if migration.state == move.to:
        return migration
    if move.to == "aborted" and migration.state not in _BEFORE_SWITCH:
        raise Conflict(
            f"migration {migration.id} is {migration.state}: the sandbox belongs to node {migration.target} and can"
            " only be migrated back"
        )
    if migration.state != move.came_from or (move.to != "aborted" and (move.came_from, move.to) not in _WHO):
        raise Conflict(
            f"migration {migration.id} is {migration.state}: it cannot go from {move.came_from} to {move.to}"
        )
    if move.to == "frozen" and not _is_digest(move.digest):
        raise InvalidParameter(f"migration {migration.id}: the digest of the images is no SHA-256 in hex")
    return msgspec.structs.replace(
        migration,
        state=move.to,
        digest=move.digest if move.to == "frozen" else migration.digest,
        reason=move.reason[:LONGEST_REASON] or migration.reason,
        times={**migration.times, move.to: now},
    )


def as_it_ended(mine: Migration, current: Migration, node: str) -> Migration:
    """A migration that a node still has something of, when the sandbox's record is another one already.

    What is of an epoch that the current one does not begin with is of the past: it goes, whether it was left behind or
    never lived. A node finishes with that (`source_step`, `target_step`) before it does anything for the current one.
    """
    if mine.id == current.id:
        return current
    if node == mine.source:
        return msgspec.structs.replace(mine, state="aborted" if current.epoch == mine.epoch else "done")
    return msgspec.structs.replace(mine, state="done" if current.epoch == mine.next else "aborted")


def _check_role(migration: Migration, move: Move, node: str, *, manager: bool) -> None:
    if move.to == "aborted":
        if not manager and node not in (migration.source, migration.target):
            raise Forbidden(f"node {node} has no part in migration {migration.id}")
        return
    who = _WHO.get((move.came_from, move.to))
    if who is not None and node != (migration.source if who == "source" else migration.target):
        raise Forbidden(f"only the {who} of migration {migration.id} says that it is {move.to}")


def _is_digest(text: str) -> bool:
    return len(text) == _DIGEST and all(char in "0123456789abcdef" for char in text)


def source_step(migration: Migration, here: SourceFacts, *, failed: str = "", expired: bool = False) -> Step:
    """What the source does next. failed: why a step of the source cannot be done, "" while it can. expired: the
    deadline has passed."""
    state = migration.state
    if state == "aborted":
        return _source_undo(here)
    if state in ("live", "done"):
        return _source_clean(state, here)
    if state == "switched":
        return Act.FORWARD if here.network == "locked" else None
    if failed or expired:
        return Commit("aborted", failed or "the deadline has passed")
    return _source_way(here) if state == "prepared" else None


def _source_way(here: SourceFacts) -> Step:
    """Cut off, checkpointed, sent. The lock comes first: a checkpoint of sockets that still receive loses bytes."""
    if here.process == "none":
        return Commit("aborted", "the process has ended at the source")
    if here.network == "open":
        return Act.LOCK
    if here.process == "running" or not here.images:
        return Act.FREEZE
    return Commit("frozen") if here.sent else Act.SEND


def _source_undo(here: SourceFacts) -> Step:
    if here.process == "frozen":
        return Act.UNLOCK if here.network == "locked" else Act.THAW
    if here.network == "locked":
        return Act.UNLOCK
    return Act.DISCARD if here.images else None


def _source_clean(state: MigrationState, here: SourceFacts) -> Step:
    if here.network == "locked":
        return Act.FORWARD
    if here.process != "none":
        return Act.KILL
    if here.network == "forwarding":
        return Act.TEAR_DOWN
    if here.images:
        return Act.DISCARD
    return Commit("done") if state == "live" else None


def target_step(migration: Migration, here: TargetFacts, *, failed: str = "", expired: bool = False) -> Step:
    """What the target does next; `failed` and `expired` as at the source. After the switch there is only forward."""
    state = migration.state
    if state == "aborted":
        return _target_undo(here)
    if state in ("live", "done"):
        return Act.DISCARD if here.images else None
    if state == "switched":
        return _target_forward(here)
    if failed or expired:
        return Commit("aborted", failed or "the deadline has passed")
    if not here.reserved:
        return Act.RESERVE
    if state == "planned":
        return Commit("reserved")
    if here.network == "none":
        return Act.PREPARE
    if state == "reserved":
        return Commit("prepared")
    return _target_restore(here) if state == "frozen" else None


def _target_restore(here: TargetFacts) -> Step:
    """Restored in silence and held: what can fail fails before the switch."""
    if here.process == "held":
        return Commit("switched")
    return Act.RESTORE if here.images else Commit("aborted", "the images were lost at the target")


def _target_forward(here: TargetFacts) -> Step:
    if here.network == "none":
        return Act.PREPARE
    if here.process == "none" and not here.released and here.images:
        return Act.RESTORE
    if here.network == "silent":
        return Act.OPEN
    if here.process == "held":
        return Act.RELEASE
    lost = here.process == "none" and not here.released
    return Commit("live", "the instance was lost with its host" if lost else "")


def _target_undo(here: TargetFacts) -> Step:
    if here.process != "none":
        return Act.DESTROY
    if here.network != "none":
        return Act.REMOVE
    if here.images:
        return Act.DISCARD
    return Act.UNRESERVE if here.reserved else None
