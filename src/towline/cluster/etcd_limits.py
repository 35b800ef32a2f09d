"""What one request to etcd may hold. The server's own limits, kept by client and fake alike."""

from __future__ import annotations

from collections.abc import Sequence

from towline.cluster.contract import Compare, DeleteKey, PutKey
from towline.model.errors import InvalidParameter

OPERATIONS = 128  # etcd: --max-txn-ops
REQUEST_BYTES = 1 << 20  # etcd: --max-request-bytes is 1.5 MiB, and its proposal is a little larger than our count


def check_transaction(when: Sequence[Compare], then: Sequence[PutKey | DeleteKey]) -> None:
    """InvalidParameter for what etcd refuses whatever its state is."""
    if max(len(when), len(then)) > OPERATIONS:
        raise InvalidParameter(
            f"a transaction has {len(when)} conditions and {len(then)} changes; etcd takes {OPERATIONS}: split it"
        )
    size = sum(len(each.key) for each in when)
    puts: set[str] = set()
    for change in then:
        size += len(change.key)
        if not change.key:
            raise InvalidParameter("a transaction changes the empty key")
        if isinstance(change, PutKey):
            size += len(change.value)
            if change.key in puts:
                raise InvalidParameter(f"a transaction puts key {change.key} twice: etcd takes one change of a key")
            puts.add(change.key)
    for change in then:
        if isinstance(change, DeleteKey):
            for key in [each for each in puts if each.startswith(change.key)] if change.prefix else [change.key]:
                if key in puts:
                    raise InvalidParameter(f"a transaction both puts and deletes key {key}: etcd takes one of them")
    if size > REQUEST_BYTES:
        raise InvalidParameter(f"a transaction of {size} bytes; etcd takes {REQUEST_BYTES}: split it")
