"""A node's certificate is renewed by itself: in the second half of its life, and when the node's role changes."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from towline.cluster import pki
from towline.cluster.identity import IdentityFiles
from towline.model.cluster import Role
from towline.model.errors import Failure, InvalidParameter, TowlineError

log = logging.getLogger(__name__)

_EARLIEST, _LATEST = 0.5, 0.8
"""Of a certificate's life, as swarmkit: not all nodes at once, and long before its end."""
_LONGEST_WAIT = 600.0
"""Seconds after which the clock is looked at again: it may have been set."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0

Renew = Callable[[bytes], Awaitable[bytes]]
"""`contract.Link.renew`."""


class Renewal:
    """Event loop only. renewed: called with the role of each new certificate, when it is in the node's files: show it
    from now on (`NodeApi.reload`, `RemoteLink.reload`), and become what it says.

    clock: seconds since the epoch. spread: from 0 to 1, where in the span in which it may be renewed.
    """

    def __init__(
        self,
        files: IdentityFiles,
        renew: Renew,
        renewed: Callable[[Role], Awaitable[None]],
        *,
        clock: Callable[[], float] = time.time,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._files = files
        self._renew = renew
        self._renewed = renewed
        self._clock = clock
        self._spread = spread
        self._asked = asyncio.Event()
        self._one = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def told_role(self, role: Role) -> None:
        """What the managers say with each beat: another role than the certificate's asks for a new certificate."""
        if role != self.role:
            self.soon()

    def soon(self) -> None:
        """Renew now."""
        self._asked.set()

    @property
    def role(self) -> Role:
        """Of the certificate in the files. StoreError, OSError."""
        return pki.subject_of(self._files.credentials().certificate).role

    async def once(self) -> Role:
        """A new certificate, in the files when this returns. As `Link.renew`; Failure for one that is not ours."""
        async with self._one:
            held = self._files.credentials()
            signing = pki.new_request()
            certificate = (await self._renew(signing.certificate.encode())).decode("ascii", "replace")
            was = pki.subject_of(held.certificate)
            subject = _checked(certificate, signing.key, held.ca, was)
            await asyncio.to_thread(self._files.save_certificate, certificate, signing.key)
        log.info("certificate renewed", extra={"fields": {"node": subject.node, "role": subject.role}})
        await self._renewed(subject.role)
        return subject.role

    async def _run(self) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            try:
                await self._wait()
                self._asked.clear()
                await self.once()
            except (TowlineError, OSError) as error:
                log.warning("the certificate cannot be renewed yet", extra={"fields": {"why": str(error)}})
                self._asked.set()
            except Exception:
                log.exception("what follows a new certificate failed")
            else:
                if self._due() > self._clock():
                    pause = _SHORTEST_PAUSE
                    continue
                log.warning(
                    "the new certificate is due for renewal already: this node's clock or the manager's is wrong"
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _wait(self) -> None:
        """Until somebody asks, or the time has come."""
        due = self._due()
        while not self._asked.is_set():
            left = due - self._clock()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(min(left, _LONGEST_WAIT)):
                    await self._asked.wait()
            except TimeoutError:
                continue

    def _due(self) -> float:
        """Seconds since the epoch."""
        since, until = pki.life_of(self._files.credentials().certificate)
        return since + (until - since) * (_EARLIEST + (_LATEST - _EARLIEST) * self._spread())


def _checked(certificate: str, key: str, ca: str, was: pki.Subject) -> pki.Subject:
    try:
        subject = pki.subject_of(certificate)
        sound = pki.signed_by(certificate, ca) and pki.belong_together(certificate, key)
    except InvalidParameter as error:
        raise Failure(f"the manager's new certificate cannot be read: {error}") from None
    if not sound or (subject.node, subject.cluster) != (was.node, was.cluster):
        raise Failure("the manager's new certificate is another's")
    return subject
