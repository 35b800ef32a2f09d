"""What every `cluster.contract.Etcd` must do. `CASES` are run by name against the fake and against real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import pytest

from towline.cluster.contract import Compacted, Compare, DeleteKey, Etcd, KeyValue, PutKey, Watched
from towline.cluster.etcd_limits import OPERATIONS, REQUEST_BYTES
from towline.model.errors import InvalidParameter, NotFound, Unavailable

WITHIN = 20.0


class Lab(Protocol):
    """etcd, other: two clients of one cluster, which is empty at first."""

    etcd: Etcd
    other: Etcd

    async def compact(self) -> None:
        """Forget what was before the current revision."""
        ...

    async def pass_time(self, seconds: int) -> None: ...


Case = Callable[[Lab], Awaitable[None]]


async def put(etcd: Etcd, key: str, value: bytes = b"", lease: int = 0) -> int:
    revision = await etcd.transact([], [PutKey(key, value, lease)])
    assert revision is not None
    return revision


async def take(changes: AsyncIterator[Watched], count: int = 1) -> list[Watched]:
    """The next `count` that hold something."""
    found: list[Watched] = []
    async with asyncio.timeout(WITHIN):
        while len(found) < count:
            one = await anext(changes)
            if one.items:
                found.append(one)
    return found


async def an_absent_key_has_no_numbers(lab: Lab) -> None:
    assert await lab.etcd.get("/a") == KeyValue("/a")
    found = await lab.etcd.range("/")
    assert found.items == ()
    assert found.revision >= 1


async def what_one_puts_another_gets(lab: Lab) -> None:
    value = bytes(range(256)) * 3
    first = await put(lab.etcd, "/é", value)
    assert await lab.other.get("/é") == KeyValue("/é", value, first, first)
    second = await put(lab.other, "/é", b"")
    assert second == first + 1
    assert await lab.etcd.get("/é") == KeyValue("/é", b"", first, second)


async def a_range_is_what_begins_so_in_order(lab: Lab) -> None:
    for key in ("/n/b", "/n/a", "/n", "/n/", "/n0", "/m/z", "/n/a/1"):
        await put(lab.etcd, key, key.encode())
    found = await lab.other.range("/n/")
    assert [each.key for each in found.items] == ["/n/", "/n/a", "/n/a/1", "/n/b"]
    assert [each.value.decode() for each in found.items] == [each.key for each in found.items]
    assert found.revision == (await lab.etcd.range("/")).revision
    assert len((await lab.etcd.range("")).items) == 7


async def a_long_range_is_whole(lab: Lab) -> None:
    for start in range(0, 1500, 100):
        await lab.etcd.transact([], [PutKey(f"/k/{n:05}", b"v" * 600) for n in range(start, start + 100)])
    assert [each.key for each in (await lab.etcd.range("/k/")).items] == [f"/k/{n:05}" for n in range(1500)]


async def a_transaction_is_all_or_nothing(lab: Lab) -> None:
    revision = await lab.etcd.transact([Compare("/a", 0), Compare("/b", 0)], [PutKey("/a", b"1"), PutKey("/b", b"2")])
    assert revision is not None
    for when in (Compare("/a", 0), Compare("/a", revision + 1), Compare("/c", revision)):
        assert await lab.etcd.transact([Compare("/b", revision), when], [PutKey("/b", b"3"), PutKey("/c", b"")]) is None
    assert [each.key for each in (await lab.etcd.range("/")).items] == ["/a", "/b"]
    assert (await lab.etcd.get("/b")).value == b"2"
    assert await lab.etcd.transact([Compare("/b", revision)], [DeleteKey("/b"), PutKey("/a", b"4")]) == revision + 1
    assert (await lab.etcd.get("/a")).modified == revision + 1
    assert (await lab.etcd.get("/b")).modified == 0


async def created_and_modified_are_compared_apart(lab: Lab) -> None:
    first = await put(lab.etcd, "/a")
    second = await put(lab.etcd, "/a")
    for revision, target, holds in ((first, "created", True), (second, "created", False), (first, "modified", False)):
        done = await lab.etcd.transact([Compare("/a", revision, target)], [PutKey("/seen", b"")])  # type: ignore[arg-type]
        assert (done is not None) == holds


async def a_prefix_is_compared_as_a_whole(lab: Lab) -> None:
    empty = Compare("/p/", 0, prefix=True)
    assert await lab.etcd.transact([empty], [PutKey("/px", b"")]) is not None
    revision = await lab.etcd.transact([empty], [PutKey("/p/1", b""), PutKey("/p/2", b"")])
    assert revision is not None
    assert await lab.etcd.transact([empty], [PutKey("/no", b"")]) is None
    assert await lab.etcd.transact([Compare("/p/", revision, prefix=True)], [PutKey("/p/2", b"")]) is not None
    assert await lab.etcd.transact([Compare("/p/", revision, prefix=True)], [PutKey("/no", b"")]) is None
    assert await lab.etcd.transact([], [DeleteKey("/p/", prefix=True)]) is not None
    assert await lab.etcd.transact([empty], []) is not None
    assert [each.key for each in (await lab.etcd.range("/")).items] == ["/px"]


async def nothing_changed_is_no_revision(lab: Lab) -> None:
    before = (await lab.etcd.range("/")).revision
    assert await lab.etcd.transact([], [DeleteKey("/none"), DeleteKey("/none/", prefix=True)]) == before
    assert (await lab.etcd.range("/")).revision == before


async def of_two_at_once_one_wins(lab: Lab) -> None:
    async def claim(etcd: Etcd, value: bytes) -> int | None:
        return await etcd.transact([Compare("/one", 0)], [PutKey("/one", value)])

    claims = [claim(lab.etcd if n % 2 else lab.other, bytes([n])) for n in range(20)]
    done = await asyncio.gather(*claims)
    won = [n for n, revision in enumerate(done) if revision is not None]
    assert len(won) == 1
    assert (await lab.etcd.get("/one")).value == bytes(won)


async def what_etcd_would_refuse_is_refused(lab: Lab) -> None:
    many = [PutKey(f"/m/{n}", b"") for n in range(OPERATIONS)]
    assert await lab.etcd.transact([], many) is not None
    large = bytes(REQUEST_BYTES - 100)
    assert await lab.etcd.transact([], [PutKey("/large", large)]) is not None
    assert (await lab.etcd.get("/large")).value == large
    for then in (
        [*many, PutKey("/m/x", b"")],
        [PutKey("/a", b""), PutKey("/a", b"")],
        [PutKey("/a", b""), DeleteKey("/a")],
        [PutKey("/a/b", b""), DeleteKey("/a/", prefix=True)],
        [PutKey("/a", bytes(REQUEST_BYTES))],
        [PutKey("", b"")],
    ):
        with pytest.raises(InvalidParameter):
            await lab.etcd.transact([], then)
    assert (await lab.etcd.range("/a")).items == ()


async def a_watch_tells_what_was_and_what_comes(lab: Lab) -> None:
    first = await put(lab.etcd, "/w/a", b"1")
    await put(lab.etcd, "/v", b"other")
    second = await lab.etcd.transact([], [PutKey("/w/b", b"2"), PutKey("/w/a", b"3"), PutKey("/x", b"")])
    assert second is not None
    changes = lab.other.watch("/w/", first)
    told = await take(changes, 2)
    assert told[0] == Watched(first, (KeyValue("/w/a", b"1", first, first),))
    assert told[1].revision == second
    assert sorted(each.key for each in told[1].items) == ["/w/a", "/w/b"]
    third = await lab.etcd.transact([], [DeleteKey("/w/", prefix=True)])
    assert third is not None
    (gone,) = await take(changes)
    assert gone.revision == third
    assert sorted(gone.items, key=lambda each: each.key) == [KeyValue("/w/a"), KeyValue("/w/b")]


async def a_watch_from_the_next_revision_has_no_gap(lab: Lab) -> None:
    start = (await lab.etcd.range("/g/")).revision
    changes = lab.etcd.watch("/g/", start + 1)
    wrote = [await put(lab.other, f"/g/{n}") for n in range(50)]
    assert [each.revision for each in await take(changes, 50)] == wrote
    later = asyncio.create_task(take(changes))
    await put(lab.other, "/elsewhere")
    wrote.append(await put(lab.other, "/g/last"))
    assert [each.revision for each in await later] == wrote[-1:]


async def a_watch_of_large_changes_is_whole(lab: Lab) -> None:
    start = (await lab.etcd.range("")).revision
    values = [bytes([n]) * 900_000 for n in range(5)]
    for value in values:
        await put(lab.etcd, "/big", value)
    await lab.etcd.transact([], [PutKey(f"/big/{n}", bytes([n]) * 7000) for n in range(120)])
    told = await take(lab.other.watch("/big", start + 1), 6)
    assert [each.items[0].value for each in told[:5]] == values
    assert {each.key: each.value for each in told[5].items} == {f"/big/{n}": bytes([n]) * 7000 for n in range(120)}


async def a_watch_of_the_forgotten_says_so(lab: Lab) -> None:
    first = await put(lab.etcd, "/c")
    for _ in range(3):
        last = await put(lab.etcd, "/c")
    await lab.compact()
    with pytest.raises(Compacted):
        await take(lab.etcd.watch("/c", first))
    assert (await lab.etcd.range("/c")).items[0].modified == last
    changes = lab.etcd.watch("/c", last + 1)
    after = await put(lab.etcd, "/c")
    assert [each.revision for each in await take(changes)] == [after]


async def keys_go_with_their_lease(lab: Lab) -> None:
    lease = await lab.etcd.grant(2)
    start = await put(lab.etcd, "/l/a", b"", lease)
    await put(lab.etcd, "/l/b", b"", lease)
    last = await put(lab.etcd, "/l/stays")
    assert (await lab.other.get("/l/a")).lease == lease
    assert await lab.other.keep(lease)
    changes = lab.other.watch("/l/", start)
    await take(changes, 3)
    await lab.pass_time(3)
    (gone,) = await take(changes)
    assert gone.revision == last + 1
    assert sorted(gone.items, key=lambda each: each.key) == [KeyValue("/l/a"), KeyValue("/l/b")]
    assert not await lab.etcd.keep(lease)
    assert [each.key for each in (await lab.etcd.range("/l/")).items] == ["/l/stays"]


async def a_revoked_lease_takes_its_keys(lab: Lab) -> None:
    lease = await lab.etcd.grant(60)
    await put(lab.etcd, "/r", b"", lease)
    moved = await lab.etcd.grant(60)
    await put(lab.etcd, "/kept", b"", lease)
    await put(lab.etcd, "/kept", b"", moved)
    await lab.other.revoke(lease)
    assert [each.key for each in (await lab.etcd.range("/")).items] == ["/kept"]
    await lab.other.revoke(lease)
    assert not await lab.etcd.keep(lease)
    with pytest.raises(NotFound):
        await put(lab.etcd, "/r", b"", lease)
    assert await lab.etcd.keep(moved)


async def a_closed_client_says_so(lab: Lab) -> None:
    changes = lab.other.watch("/", (await lab.other.range("/")).revision + 1)
    waiting = asyncio.create_task(take(changes))
    await put(lab.etcd, "/elsewhere")
    await waiting
    waiting = asyncio.create_task(take(changes))
    await asyncio.sleep(0)
    await lab.other.close()
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        await lab.other.get("/a")


CASES: list[Case] = [
    an_absent_key_has_no_numbers,
    what_one_puts_another_gets,
    a_range_is_what_begins_so_in_order,
    a_long_range_is_whole,
    a_transaction_is_all_or_nothing,
    created_and_modified_are_compared_apart,
    a_prefix_is_compared_as_a_whole,
    nothing_changed_is_no_revision,
    of_two_at_once_one_wins,
    what_etcd_would_refuse_is_refused,
    a_watch_tells_what_was_and_what_comes,
    a_watch_from_the_next_revision_has_no_gap,
    a_watch_of_large_changes_is_whole,
    a_watch_of_the_forgotten_says_so,
    keys_go_with_their_lease,
    a_revoked_lease_takes_its_keys,
    a_closed_client_says_so,
]
