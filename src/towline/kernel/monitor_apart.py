"""Notifications of two namespaces as one: the host's, and the one for overlay networks (`apart`)."""

from __future__ import annotations

import msgspec

from towline.kernel.contract import Drift
from towline.kernel.links_apart import as_apart
from towline.kernel.monitor import NetlinkMonitor
from towline.model.desired import apart


class SplitMonitor:
    """The `Monitor` contract. here, there: of the two namespaces."""

    def __init__(self, here: NetlinkMonitor, there: NetlinkMonitor) -> None:
        self._here = here
        self._there = there

    def close(self) -> None:
        self._here.close()
        self._there.close()

    def filenos(self) -> tuple[int, ...]:
        return *self._here.filenos(), *self._there.filenos()

    def read(self) -> list[Drift]:
        """Routes there are nobody's concern: no packet is routed in it."""
        return [*self._here.read(), *(_there(drift) for drift in self._there.read() if drift.kind != "routes")]


def _there(drift: Drift) -> Drift:
    link = None if drift.link is None else as_apart(drift.link)
    return msgspec.structs.replace(drift, name=drift.name and apart(drift.name), link=link)
