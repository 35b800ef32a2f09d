"""What the run and its processes of nodes say to each other: one line of JSON for each ask and each answer."""

from __future__ import annotations

import msgspec

from towline.model.cluster import Node


class Ask(msgspec.Struct, frozen=True):
    """verb: a method of `worker.Worker`; body: its argument."""

    id: int
    verb: str
    body: msgspec.Raw


class Answer(msgspec.Struct, frozen=True):
    """error: "" if there is none."""

    id: int
    body: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""


class Seed(msgspec.Struct, frozen=True):
    """A node to be. folder: its identity files."""

    at: int
    folder: str
    record: Node


class Start(msgspec.Struct, frozen=True):
    """manager: host:port. seconds: for each to know the cluster. at_once: nodes that start at the same time."""

    manager: str
    seeds: tuple[Seed, ...]
    seconds: float
    at_once: int


class Share(msgspec.Struct, frozen=True):
    """Endpoints that node `at` begins with on a network."""

    at: int
    network: str
    count: int


class Fill(msgspec.Struct, frozen=True):
    shares: tuple[Share, ...]
    at_once: int


class Change(msgspec.Struct, frozen=True):
    """One endpoint comes to (or leaves) node `at` on a network. tracked: its way to the others is measured."""

    at: int
    network: str
    leave: bool = False
    tracked: bool = False


class Some(msgspec.Struct, frozen=True):
    """Nodes."""

    at: tuple[int, ...] = ()
    seconds: float = 0.0


class Restarted(msgspec.Struct, frozen=True):
    seconds: float
    bytes: int
    networks: int


class Holding(msgspec.Struct, frozen=True):
    """Of a node. rows: how many on all networks. In whole comparisons only: present: network -> digest of all its
    endpoints as this node has them, own and others'; networks: digest of what it knows; wrong: of its rows."""

    at: int
    rows: int
    present: dict[str, str] = {}
    networks: str = ""
    wrong: str = ""


class Published(msgspec.Struct, frozen=True):
    """Monotonic seconds, of a clock that all processes share."""

    asked: float
    answered: float


class Tracks(msgspec.Struct, frozen=True):
    """By MAC. rows: on how many nodes of this process, and when on the last one."""

    published: dict[str, Published]
    rows: dict[str, tuple[int, float]]


class Figures(msgspec.Struct, frozen=True):
    """Since the last time they were asked for. cpu: seconds. bytes, updates: of streams. rows: put or replaced.
    resident: bytes, now."""

    cpu: float
    bytes: int
    updates: int
    rows: int
    resident: int
