"""etcd's JSON gateway as types: 64-bit numbers come as strings, keys and values in base64, zeros are left out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from towline.cluster.contract import Compare, DeleteKey, KeyValue, PutKey

# gRPC status codes that etcd uses
INVALID, DEADLINE, NOT_FOUND, DENIED, EXHAUSTED, PRECONDITION, OUT_OF_RANGE = 3, 4, 5, 7, 8, 9, 11
UNAVAILABLE, UNAUTHENTICATED = 14, 16


class Header(msgspec.Struct, frozen=True):
    cluster_id: int = 0
    member_id: int = 0
    revision: int = 0
    raft_term: int = 0


class Pair(msgspec.Struct, frozen=True):
    key: bytes = b""
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    lease: int = 0

    def as_key_value(self) -> KeyValue:
        return KeyValue(text(self.key), self.value, self.create_revision, self.mod_revision, self.lease)


class RangeAnswer(msgspec.Struct, frozen=True):
    header: Header = Header()
    kvs: tuple[Pair, ...] = ()
    more: bool = False


class TransactionAnswer(msgspec.Struct, frozen=True):
    header: Header = Header()
    succeeded: bool = False


class LeaseAnswer(msgspec.Struct, frozen=True):
    """ttl: seconds; 0 for a lease that has ended."""

    id: int = msgspec.field(name="ID", default=0)
    ttl: int = msgspec.field(name="TTL", default=0)


class LeaseLine(msgspec.Struct, frozen=True):
    result: LeaseAnswer = LeaseAnswer()


class TokenAnswer(msgspec.Struct, frozen=True):
    token: str = ""


class Event(msgspec.Struct, frozen=True):
    type: str = "PUT"
    kv: Pair = Pair()

    def as_key_value(self) -> KeyValue:
        return KeyValue(text(self.kv.key)) if self.type == "DELETE" else self.kv.as_key_value()


class WatchAnswer(msgspec.Struct, frozen=True):
    """fragment: more of the same answer follows."""

    header: Header = Header()
    created: bool = False
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: int = 0
    fragment: bool = False
    events: tuple[Event, ...] = ()


class StreamError(msgspec.Struct, frozen=True):
    grpc_code: int = 0
    message: str = ""


class WatchLine(msgspec.Struct, frozen=True):
    result: WatchAnswer = WatchAnswer()
    error: StreamError | None = None


class ErrorAnswer(msgspec.Struct, frozen=True):
    message: str = ""
    code: int = 0


def text(key: bytes) -> str:
    """Keys of others need not be UTF-8; such a key is shown, and never one of ours."""
    return key.decode(errors="backslashreplace")


def prefix_range(prefix: str) -> dict[str, bytes]:
    """The fields key and range_end for every key that begins with `prefix`."""
    key = prefix.encode()
    end = key.rstrip(b"\xff")
    return {"key": key or b"\0", "range_end": end[:-1] + bytes([end[-1] + 1]) if end else b"\0"}


def transaction(when: Sequence[Compare], then: Sequence[PutKey | DeleteKey]) -> dict[str, object]:
    return {"compare": [_compare(each) for each in when], "success": [_change(each) for each in then]}


def _compare(when: Compare) -> dict[str, object]:
    target, number = ("MOD", "mod_revision") if when.target == "modified" else ("CREATE", "create_revision")
    keys = prefix_range(when.key) if when.prefix else {"key": when.key.encode()}
    return {**keys, "result": "EQUAL", "target": target, number: when.revision}


def _change(change: PutKey | DeleteKey) -> dict[str, object]:
    if isinstance(change, PutKey):
        return {"request_put": {"key": change.key.encode(), "value": change.value, "lease": change.lease}}
    return {"request_delete_range": prefix_range(change.key) if change.prefix else {"key": change.key.encode()}}
