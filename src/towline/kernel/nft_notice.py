"""Which nftables notifications concern us: what happens in our tables, and in chains of others that we put a rule into.

Other software may change its rules many times a second. So most datagrams are passed over by one search for the few
names that matter, without looking at their messages. What other software deletes of its own needs nothing of us.
"""

from __future__ import annotations

import socket
from collections.abc import Collection

from towline.kernel import nft_codec as codec
from towline.kernel.netlink import Part, iter_messages, parse_attrs
from towline.kernel.socket_filter import DROP, JUMP_IF_EQUAL, KEEP, LOAD_HALF, LOAD_WORD, Instruction, attach_filter
from towline.model.ruleset import TableId

_CHAIN_ATTRIBUTE = {codec.NEWCHAIN: 3, codec.DELCHAIN: 3, codec.NEWRULE: 2, codec.DELRULE: 2}
_TABLE_ATTRIBUTE = 1
_WITHOUT_TABLE = frozenset({codec.NEWGEN, codec.GETGEN})
_TYPE_OFFSET, _PORT_OFFSET = 4, 12


class Notices:
    """foreign: (table, base chain) of other software that are looked after."""

    def __init__(self, foreign: Collection[tuple[TableId, str]] = ()) -> None:
        self._chains = {(codec.FAMILIES[table.family], table.name.encode(), chain.encode()) for table, chain in foreign}
        self._names = (codec.OURS.encode(), *{chain + b"\0" for _, _, chain in self._chains})

    def concern(self, datagram: bytes) -> bool:
        if not any(name in datagram for name in self._names):
            return False
        return any(self._concerns(part) for part in iter_messages(datagram))

    def _concerns(self, part: Part) -> bool:
        if part.type in _WITHOUT_TABLE or len(part.body) < 4:
            return False
        attrs = parse_attrs(memoryview(part.body)[4:])
        table = attrs.get(_TABLE_ATTRIBUTE, b"").rstrip(b"\0")
        if table.startswith(codec.OURS.encode()):
            return True
        chain = attrs.get(_CHAIN_ATTRIBUTE.get(part.type, -1), b"").rstrip(b"\0")
        return (part.body[0], table, chain) in self._chains


def ignore_own(sock: socket.socket, port: int) -> None:
    """Let neither datagrams about what `port` did (0: nobody) nor those of a new generation in, so that big
    transactions of our own neither fill the buffer nor wake anybody.

    A datagram is about one transaction, of which the filter sees the first message.
    """
    checks = [(LOAD_HALF, _TYPE_OFFSET, socket.htons(codec.NEWGEN))]
    if port:
        checks.append((LOAD_WORD, _PORT_OFFSET, socket.htonl(port)))
    program = []
    for left, (load, offset, value) in zip(range(len(checks), 0, -1), checks, strict=True):
        program += [Instruction(load, 0, 0, offset), Instruction(JUMP_IF_EQUAL, 2 * left - 1, 0, value)]
    attach_filter(sock, [*program, KEEP, DROP])
