"""The certificate of a manager's member of etcd: as short-lived as a node's, and made anew by the manager itself.

Managers have the key of etcd's root in the cluster's secrets, that is in etcd. It is kept beside the certificate too,
so that a manager which was off for longer than its certificate lived can start its etcd all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from towline.cluster import pki
from towline.cluster.gate import issue_member
from towline.cluster.identity import IdentityFiles
from towline.cluster.state import State
from towline.cluster.tasks import begin
from towline.model.errors import InvalidParameter, TowlineError
from towline.policy.swarm_spec import cert_expiry

log = logging.getLogger(__name__)

_DUE = 0.5
"""Of a certificate's life."""
_BACKDATED = 7200.0
"""Seconds, at most, that a certificate begins before it is made."""
_LOOK = 600.0
"""Seconds between two looks at it."""


class MemberCertificate:
    """address: bare, by which other members reach this one. renewed: called when the files are new. clock: nanoseconds
    since the epoch. look: seconds between two looks."""

    def __init__(
        self,
        files: IdentityFiles,
        node_id: str,
        address: str,
        *,
        renewed: Callable[[], None],
        clock: Callable[[], int],
        look: float = _LOOK,
    ) -> None:
        self._files = files
        self._node_id = node_id
        self._address = address
        self._renewed = renewed
        self._clock = clock
        self._look = look
        self._task: asyncio.Task[None] | None = None

    def mend(self) -> None:
        """Before etcd starts: a new one, if this one is due or of no use, and the root's key is here. Never raises."""
        try:
            held = self._files.member_tls()
            if held.ca_key and (due := self._due(held.certificate, held.key)):
                self._issue(pki.KeyPair(held.ca, held.ca_key), due)
        except (TowlineError, OSError) as error:
            log.error("etcd's certificate cannot be renewed", extra={"fields": {"why": str(error)}})

    def start(self, state: Callable[[], State]) -> None:
        self._task = begin(self._run(state), "etcd's certificate")

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, state: Callable[[], State]) -> None:
        while True:
            try:
                self.compare(state())
            except (TowlineError, OSError) as error:
                log.warning("etcd's certificate cannot be renewed yet", extra={"fields": {"why": str(error)}})
            await asyncio.sleep(self._look)

    def compare(self, state: State) -> None:
        """The root's key is kept, and a certificate that is due is made anew. StoreError, OSError."""
        secrets, cluster = state.secrets, state.cluster
        if secrets is None or cluster is None or not secrets.etcd_ca_key:
            return
        held = self._files.member_tls()
        if held.ca_key != secrets.etcd_ca_key:
            self._files.save_member_root(secrets.etcd_ca_key)
        seconds = cert_expiry(cluster.spec)
        since, until = _life(held.certificate)
        if self._due(held.certificate, held.key) or until - since > 2 * seconds + _BACKDATED:
            self._issue(pki.KeyPair(secrets.etcd_ca, secrets.etcd_ca_key), seconds)
            self._renewed()

    def _due(self, certificate: str, key: str) -> float:
        """Seconds that the next one may live, as this one; 0 while this one is good."""
        since, until = _life(certificate)
        now = self._clock() / 1e9
        good = since <= now < since + (until - since) * _DUE and pki.belong_together(certificate, key)
        return 0.0 if good else until - since

    def _issue(self, root: pki.KeyPair, seconds: float) -> None:
        pair = issue_member(root, self._node_id, [self._address], seconds=seconds)
        self._files.save_member_tls(root.certificate, pair.certificate, pair.key)
        log.info("etcd's certificate renewed", extra={"fields": {"node": self._node_id}})


def _life(certificate: str) -> tuple[float, float]:
    try:
        return pki.life_of(certificate)
    except InvalidParameter:
        return 0.0, 3600.0
