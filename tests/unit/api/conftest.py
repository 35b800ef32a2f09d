"""A fake engine, served."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.served import served


@pytest.fixture
async def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def socket(engine: FakeEngine) -> AsyncIterator[str]:
    async with served(engine) as path:
        yield path
