"""Background tasks whose failure is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

log = logging.getLogger(__name__)


def begin(work: Coroutine[None, None, None], what: str) -> asyncio.Task[None]:
    """A task that its caller owns. An exception that ends it is logged when it ends, whether anybody asks or not."""
    task = asyncio.create_task(work, name=what)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a task of the cluster has failed", exc_info=error, extra={"fields": {"task": task.get_name()}})
