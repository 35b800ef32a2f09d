"""The other nodes' keys, kept in the store: a daemon that starts while its node is cut off goes on with them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from towline.control.writer import Writer
from towline.model.cluster import Description, Node
from towline.store.contract import SetMeta, Store

log = logging.getLogger(__name__)

META_NODES = "secure-nodes"


class SecureMemory:
    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer
        self._text = store.meta(META_NODES) or ""

    def nodes(self) -> dict[str, Node]:
        """What cannot be read (another release's) is not known: the cluster says it again."""
        try:
            nodes = msgspec.json.decode(self._text, type=list[Node]) if self._text else []
        except msgspec.MsgspecError as error:
            log.error("the stored keys of nodes cannot be read", extra={"fields": {"error": str(error)}})
            nodes = []
        return {node.id: node for node in nodes}

    async def keep(self, nodes: Mapping[str, Node]) -> None:
        """{}: nothing is kept."""
        kept = [
            Node(
                node.id,
                node.created,
                description=Description(node.description.hostname),
                data_path=node.data_path,
                secure=node.secure,
            )
            for node in nodes.values()
            if node.secure
        ]
        text = msgspec.json.encode(kept).decode() if kept else ""
        if text != self._text:
            await self._writer.exclusive(lambda: self._store.update([SetMeta(META_NODES, text or None)]))
            self._text = text
