"""etcd's v3 API as managers use it: contract.Etcd over the JSON gateway that every member has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from towline.cluster import etcd_wire as wire
from towline.cluster.contract import Compare, DeleteKey, Etcd, KeyValue, PutKey, Range, Watched
from towline.cluster.etcd_gateway import EtcdRefusal, Gateway, TooLarge
from towline.cluster.etcd_limits import check_transaction
from towline.cluster.etcd_watch import Position, watch
from towline.model.errors import NotFound, Unavailable

PAGE = 500


class EtcdClient(Etcd):
    """Owns `gateway`. Reads are repeated on another member; a transaction is sent once, and Unavailable leaves its
    outcome open. Unavailable also for what an operator must set right: a full database, a refused user or certificate.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._cluster = 0

    async def get(self, key: str) -> KeyValue:
        answer = await self._range({"key": key.encode()})
        return answer.kvs[0].as_key_value() if answer.kvs else KeyValue(key)

    async def range(self, prefix: str) -> Range:
        while True:
            found = await self._pages(prefix)
            if found is not None:
                return found

    async def transact(self, when: Sequence[Compare], then: Sequence[PutKey | DeleteKey]) -> int | None:
        check_transaction(when, then)
        body = wire.transaction(when, then)
        try:
            answer = await self._gateway.ask("kv/txn", body, wire.TransactionAnswer, again=False)
        except EtcdRefusal as error:
            if error.code == wire.NOT_FOUND:
                raise NotFound(f"{error}: {', '.join(_leased(then))}") from error
            raise _unavailable(error) from error
        return answer.header.revision if answer.succeeded else None

    def watch(self, prefix: str, since: int) -> AsyncIterator[Watched]:
        return watch(self._gateway, prefix, Position(since, self._cluster))

    async def grant(self, seconds: int) -> int:
        try:
            return (await self._gateway.ask("lease/grant", {"TTL": seconds}, wire.LeaseAnswer, again=True)).id
        except EtcdRefusal as error:
            raise _unavailable(error) from error

    async def keep(self, lease: int) -> bool:
        try:
            answer = await self._gateway.ask("lease/keepalive", {"ID": lease}, wire.LeaseLine, again=True)
        except EtcdRefusal as error:
            if error.code == wire.NOT_FOUND:
                return False
            raise _unavailable(error) from error
        return answer.result.ttl > 0

    async def revoke(self, lease: int) -> None:
        try:
            await self._gateway.ask("lease/revoke", {"ID": lease}, object, again=True)
        except EtcdRefusal as error:
            if error.code != wire.NOT_FOUND:
                raise _unavailable(error) from error

    async def close(self) -> None:
        await self._gateway.close()

    async def _pages(self, prefix: str) -> Range | None:
        """None: the first page's revision was forgotten while later pages were read."""
        body: dict[str, object] = {**wire.prefix_range(prefix)}
        items: list[KeyValue] = []
        limit, revision = PAGE, 0
        while True:
            try:
                answer = await self._range({**body, "limit": limit, "revision": revision})
            except TooLarge as error:
                if limit == 1:
                    raise Unavailable(str(error)) from error
                limit //= 5
                continue
            except EtcdRefusal as error:
                if error.code == wire.OUT_OF_RANGE and revision:
                    return None
                raise _unavailable(error) from error
            items.extend(each.as_key_value() for each in answer.kvs)
            revision = revision or answer.header.revision
            self._cluster = answer.header.cluster_id
            if not answer.more or not answer.kvs:
                return Range(revision, tuple(items))
            body["key"] = answer.kvs[-1].key + b"\0"

    async def _range(self, body: dict[str, object]) -> wire.RangeAnswer:
        try:
            return await self._gateway.ask("kv/range", body, wire.RangeAnswer, again=True)
        except EtcdRefusal as error:
            if error.code == wire.OUT_OF_RANGE:
                raise
            raise _unavailable(error) from error


def _leased(then: Sequence[PutKey | DeleteKey]) -> list[str]:
    return [each.key for each in then if isinstance(each, PutKey) and each.lease][:3]


def _unavailable(error: EtcdRefusal) -> Unavailable:
    if error.full:
        return Unavailable(f"{error}: its database has reached its quota. It must be compacted and defragmented")
    if error.code == wire.DENIED:
        return Unavailable(f"{error}. The user of --cluster-store needs read and write on /towline/")
    return Unavailable(str(error))
