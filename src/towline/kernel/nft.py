"""nftables over our own nfnetlink codec: one batch per commit, one dump per kind for reading.

In the tables named `towline*` everything is ours, except chains and sets without our comment. In other tables only
rules whose comment begins with `towline` are.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from towline.kernel import nft_codec as codec
from towline.kernel import nft_decode as decode
from towline.kernel import nft_replace as replace
from towline.kernel.netlink import DumpInterrupted, Message, NetlinkSocket
from towline.kernel.nft_codec import Step
from towline.kernel.nft_decode import ChainInfo, SetInfo
from towline.model.errors import KernelError
from towline.model.ruleset import (
    AddElements,
    AddTable,
    DeleteElements,
    DeleteForeign,
    DeleteTable,
    Family,
    ForeignChain,
    Hook,
    InsertForeign,
    NftChange,
    Table,
    TableId,
    TableState,
)

_NETLINK_NETFILTER = 12
_FORWARD = 2
_ATTEMPTS = 20
_FORWARDING_FAMILIES = ("ip", "ip6", "inet")


class NfNetlinkNft:
    """Contract `Nft` for the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(_NETLINK_NETFILTER)

    @property
    def portid(self) -> int:
        """The netlink port our transactions come from, as notifications name it."""
        return self._socket.portid

    def close(self) -> None:
        self._socket.close()

    def commit(self, changes: Sequence[NftChange]) -> None:
        """A replaced table is planned from a dump: if the ruleset changes meanwhile, it is planned again."""
        try:
            self._commit(changes)
        except OSError as error:
            raise _refused(error, "commit nftables transaction") from error

    def read(self, table: TableId) -> TableState | None:
        try:
            return self._read(table)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise _refused(error, f"read table {table.family} {table.name}") from error

    def tables(self) -> list[TableId]:
        """All tables that there are, whoever made them."""
        try:
            found = [decode.table(body) for body in self._dump(Message(codec.GETTABLE, 0, codec.header(None)))]
        except OSError as error:
            raise _refused(error, "list tables") from error
        return [table for table in found if table is not None]

    def foreign_chains(self) -> list[tuple[TableId, str]]:
        try:
            found = self._chains(None)
        except OSError as error:
            raise _refused(error, "read other software's chains") from error
        return [(info.table, info.name) for info in found if not info.table.name.startswith(codec.OURS)]

    def foreign_forward_chains(self) -> list[ForeignChain]:
        try:
            return [
                self._foreign(info, hook) for info in self._chains(None) if (hook := _foreign_forward(info)) is not None
            ]
        except OSError as error:
            raise _refused(error, "read other software's forward chains") from error

    def _commit(self, changes: Sequence[NftChange]) -> None:
        reads = any(isinstance(change, AddTable) for change in changes)
        for _ in range(_ATTEMPTS):
            generation = self._generation() if reads else None
            if self._send(generation, list(self._steps(changes))):
                return
        raise KernelError(errno.EAGAIN, "commit nftables transaction", "the ruleset keeps changing")

    def _steps(self, changes: Sequence[NftChange]) -> Iterator[Step]:
        deleted: set[TableId] = set()
        set_id = 1
        for change in changes:
            match change:
                case AddElements():
                    yield from codec.add_elements(change.elements)
                case DeleteElements():
                    yield from codec.delete_elements(change.elements)
                case AddTable():
                    yield from self._replace(change.table, set_id, fresh=change.table.id in deleted)
                    set_id += len(change.table.sets)
                case DeleteTable():
                    yield codec.add_table(change.id)
                    yield codec.delete_table(change.id)
                    deleted.add(change.id)
                case InsertForeign():
                    yield codec.add_rule(change.table, change.chain, change.rule, first=True)
                case DeleteForeign():
                    yield codec.delete_rule(change.table, change.chain, change.handle)

    def _replace(self, table: Table, set_id: int, *, fresh: bool) -> Iterator[Step]:
        sets = None if fresh else self._sets_if_table(table.id)
        if sets is None:
            return replace.add_table(table, [], [], set_id)
        return replace.add_table(table, self._chains_of(table.id), sets, set_id)

    def _sets_if_table(self, table: TableId) -> list[SetInfo] | None:
        try:
            return self._sets(table)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise

    def _send(self, generation: int | None, steps: list[Step]) -> bool:
        """False if the ruleset is no longer of that generation."""
        if not steps:
            return True
        begin = codec.batch_begin(generation)
        try:
            acks = self._socket.batch(begin, [step.message for step in steps], codec.BATCH_END)
        except OSError as error:
            if error.errno == errno.ERESTART:
                return False
            raise
        for step, ack in zip(steps, acks, strict=True):
            if ack.errno and ack.errno != errno.ECANCELED:
                raise KernelError(ack.errno, step.operation, ack.text)
        if any(ack.errno for ack in acks):
            raise KernelError(errno.ECANCELED, "commit nftables transaction")
        return True

    def _read(self, table: TableId) -> TableState:
        ((_, found),) = self._socket.get(codec.request(codec.GETTABLE, table))
        chains = [info for info in self._chains_of(table) if info.comment.startswith(codec.OURS)]
        names: dict[str, list[str]] = {info.name: [] for info in chains}
        for body in self._dump(codec.request(codec.GETRULE, table)):
            rule = decode.rule(body)
            if rule.chain in names:
                names[rule.chain].append(rule.comment)
        sets = [info for info in self._sets(table) if info.comment.startswith(codec.OURS)]
        return TableState(
            table,
            {chain: tuple(rules) for chain, rules in names.items()},
            {info.name: self._elements(table, info.name) for info in sets},
            hooks={info.name: info.hook for info in chains},
            definitions={info.name: info.definition for info in sets},
            dormant=decode.dormant(found),
        )

    def _elements(self, table: TableId, name: str) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for body in self._dump(codec.request(codec.GETSETELEM, table, (2, name))):
            found |= decode.elements(body)
        return found

    def _sets(self, table: TableId) -> list[SetInfo]:
        infos = [decode.set_info(body) for body in self._dump(codec.request(codec.GETSET, table))]
        return [info for info in infos if not info.anonymous]

    def _chains_of(self, table: TableId) -> list[ChainInfo]:
        return [info for info in self._chains(table.family) if info.table == table]

    def _chains(self, family: Family | None) -> list[ChainInfo]:
        infos = [decode.chain(body) for body in self._dump(Message(codec.GETCHAIN, 0, codec.header(family)))]
        return [info for info in infos if info is not None]

    def _foreign(self, info: ChainInfo, hook: Hook) -> ForeignChain:
        bodies = self._dump(codec.request(codec.GETRULE, info.table, (2, info.name)))
        rules = [decode.rule(body) for body in bodies]
        named = tuple((rule.handle, rule.comment if rule.comment.startswith(codec.OURS) else "") for rule in rules)
        return ForeignChain(info.table, info.name, hook.hook, hook.priority, hook.policy, named)

    def _generation(self) -> int:
        for _, body in self._socket.get(Message(codec.GETGEN, 0, codec.header(None))):
            return decode.generation(body)
        raise KernelError(errno.ENODATA, "read the nftables generation")

    def _dump(self, message: Message) -> list[bytes]:
        for _ in range(_ATTEMPTS):
            try:
                return [body for _, body in self._socket.dump(message)]
            except DumpInterrupted:
                continue
        raise KernelError(errno.EAGAIN, "read the nftables ruleset", "it keeps changing")


def _refused(error: OSError, operation: str) -> KernelError:
    return KernelError(error.errno or errno.EIO, operation, error.strerror or "")


def _foreign_forward(info: ChainInfo) -> Hook | None:
    """The hook of a filter chain at the forward hook that is not ours; None for any other chain."""
    hook = info.hook
    if hook is None or (hook.type, hook.hook) != ("filter", _FORWARD) or info.table.name.startswith(codec.OURS):
        return None
    return hook if info.table.family in _FORWARDING_FAMILIES else None
