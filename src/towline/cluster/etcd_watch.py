"""A watch that goes on where it was when a connection is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec

from towline.cluster import etcd_wire as wire
from towline.cluster.contract import Compacted, KeyValue, Watched
from towline.cluster.etcd_gateway import EtcdRefusal, Gateway, login_needed
from towline.cluster.etcd_stream import Stream
from towline.model.errors import Unavailable

PATIENCE = 3.0
PAUSES = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)


class Position:
    """Where a reader of a cluster's history is. cluster: etcd's id of the one that was read; 0: none yet."""

    def __init__(self, since: int, cluster: int) -> None:
        self.next = since
        self.cluster = cluster


async def watch(gateway: Gateway, prefix: str, at: Position) -> AsyncIterator[Watched]:
    """As contract.Etcd.watch. Compacted also when etcd has gone back (a backup was restored), or is another cluster."""
    loop = asyncio.get_running_loop()
    lost = 0.0
    tries = 0
    while True:
        stream: Stream | None = None
        events: list[wire.Event] = []
        try:
            stream = await gateway.stream("watch", _request(prefix, at))
            while True:
                answer = await _answer(gateway, await stream.line())
                if answer.created:
                    await _check(gateway, answer.header, at)
                lost = 0.0
                events.extend(answer.events)
                if answer.fragment:
                    continue
                if not events and not answer.created:
                    tries = 0
                    at.next = max(at.next, answer.header.revision + 1)
                    yield Watched(answer.header.revision, ())
                for told in _by_revision(events):
                    if told.revision >= at.next:
                        tries = 0
                        at.next = told.revision + 1
                        yield told
                events.clear()
        except Unavailable:
            lost = lost or loop.time()
            if gateway.closed or loop.time() - lost > PATIENCE:
                raise
        finally:
            if stream is not None:
                stream.close()
        await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
        tries += 1


def _request(prefix: str, at: Position) -> dict[str, object]:
    create = {**wire.prefix_range(prefix), "start_revision": at.next, "progress_notify": True, "fragment": True}
    return {"create_request": create}


async def _answer(gateway: Gateway, line: bytes) -> wire.WatchAnswer:
    try:
        decoded = msgspec.json.decode(line, type=wire.WatchLine, strict=False)
    except msgspec.MsgspecError as error:
        raise Unavailable(f"etcd: a line of a watch is not etcd's: {error}") from error
    answer = decoded.result
    if decoded.error is not None:
        code, reason = decoded.error.grpc_code, decoded.error.message
    elif not answer.canceled:
        return answer
    elif answer.compact_revision:
        raise Compacted(f"etcd has forgotten what happened before revision {answer.compact_revision}")
    else:
        code, reason = 0, answer.cancel_reason or "etcd cancelled it"
    refusal = EtcdRefusal(code, f"a watch ended: {reason}")
    if login_needed(code, reason):
        await gateway.log_in()
        raise Unavailable(f"{refusal}. {gateway.remedy}")
    if gateway.has_login and answer.canceled:  # a member tells an old token and a missing permission alike
        await gateway.log_in()
    raise Unavailable(str(refusal))


async def _check(gateway: Gateway, header: wire.Header, at: Position) -> None:
    if at.cluster and header.cluster_id != at.cluster:
        raise Compacted("this etcd is another cluster, or was restored from a backup")
    at.cluster = header.cluster_id
    if header.revision >= at.next - 1:
        return
    # This member is behind the one that we followed before; or all are.
    try:
        answer = await gateway.ask("kv/range", {"key": b"\0", "keys_only": True}, wire.RangeAnswer, again=True)
    except EtcdRefusal as error:
        raise Unavailable(str(error)) from error
    if answer.header.revision < at.next - 1:
        raise Compacted(f"etcd has gone back to revision {answer.header.revision}, before {at.next - 1}")


def _by_revision(events: list[wire.Event]) -> Iterator[Watched]:
    items: list[KeyValue] = []
    for place, event in enumerate(events):
        items.append(event.as_key_value())
        revision = event.kv.mod_revision
        if place + 1 == len(events) or events[place + 1].kv.mod_revision != revision:
            yield Watched(revision, tuple(items))
            items = []
