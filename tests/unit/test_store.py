"""Every backend against the one conformance suite, and each against the naive model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings

from tests.support.faulty_store import FaultyStore
from tests.support.store_conformance import CASES, HISTORIES, Batch, Case, check_history, network
from towline.model.errors import StoreError
from towline.store.contract import Put, Store
from towline.store.memory import MemoryStore
from towline.store.open import open_store


@pytest.fixture(params=["memory", "sqlite", "faulty"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store
    if request.param == "sqlite":
        made = open_store(tmp_path).store
    else:
        made = MemoryStore() if request.param == "memory" else FaultyStore(MemoryStore())
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_conformance(store: Store, case: Case) -> None:
    case(store)


@given(HISTORIES)
def test_memory_follows_the_model(history: list[Batch]) -> None:
    check_history(MemoryStore(), history, reopen=lambda store: store)


@settings(max_examples=60, deadline=None)
@given(HISTORIES)
def test_sqlite_follows_the_model_over_reopening(history: list[Batch]) -> None:
    with TemporaryDirectory() as root:

        def reopen(store: Store) -> Store:
            store.close()
            return open_store(Path(root)).store

        check_history(open_store(Path(root)).store, history, reopen)


def test_faulty_store_fails_the_nth_update_and_runs_hooks_around_it() -> None:
    store, seen = FaultyStore(MemoryStore()), list[str]()
    store.fail(2, "disk-full")
    store.before(1, lambda: seen.append(f"before 1 at {store.view().revision}"))
    store.after(1, lambda: seen.append(f"after 1 at {store.view().revision}"))
    store.update([Put(network(1))])
    with pytest.raises(StoreError, match="disk full"):
        store.update([Put(network(2))])
    assert store.update([Put(network(3))]) == 2
    assert [n.name for n in store.view().networks()] == ["net-1", "net-3"]
    assert seen == ["before 1 at 0", "after 1 at 1"]
