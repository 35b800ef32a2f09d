"""A sandbox on its way to another node: the record in the cluster, and what each of the two nodes has of it."""

from __future__ import annotations

from typing import Literal

import msgspec

MigrationState = Literal["planned", "reserved", "prepared", "frozen", "switched", "live", "done", "aborted"]
Role = Literal["source", "target", "manager"]


class Migration(msgspec.Struct, frozen=True, omit_defaults=True):
    """One per sandbox, under the sandbox's id; the next one takes its place when it has ended.

    source, target: ids of nodes. epoch: of the sandbox where it is when this begins. next: its epoch at the target, one
    that was never used before, not even by a migration that was aborted. Everything that a node makes or removes for a
    migration is of one epoch, so what comes late acts on nothing. digest: of the images,
    sha256 in hex, from `frozen` on. deadline: nanoseconds since the epoch, until `switched`; 0 is none. reason: why it
    was aborted, or what was lost. times: when each state was committed, nanoseconds since the epoch.
    """

    id: str
    sandbox: str
    source: str
    target: str
    epoch: int
    next: int
    state: MigrationState = "planned"
    digest: str = ""
    deadline: int = 0
    reason: str = ""
    times: dict[str, int] = {}

    @property
    def ended(self) -> bool:
        return self.state in ("done", "aborted")


class SourceFacts(msgspec.Struct, frozen=True):
    """What the source has, of the instance of `Migration.epoch`.

    network: "open": as ever; "locked": nothing goes in or out, arriving frames are held; "forwarding": what still
    arrives goes to the target. images: at the source; sent: the target has confirmed all of them, by digest.
    """

    process: Literal["none", "running", "frozen"] = "running"
    network: Literal["none", "open", "locked", "forwarding"] = "open"
    images: bool = False
    sent: bool = False


class TargetFacts(msgspec.Struct, frozen=True):
    """What the target has, of the instance of `Migration.next`.

    process: "held": restored and not allowed to run. network: "silent": everything is there and nothing passes.
    images: all of them, as the digest says. released: kept durably before the process is let go: from then on the
    images are the past, and nobody may restore from them again.
    """

    reserved: bool = False
    process: Literal["none", "held", "running"] = "none"
    network: Literal["none", "silent", "open"] = "none"
    images: bool = False
    released: bool = False
