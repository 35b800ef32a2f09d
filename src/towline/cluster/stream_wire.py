"""What a node says in its stream's request, in lines: which scopes are to come, and which not any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from towline.cluster.contract import BASE
from towline.cluster.scopes import Scopes
from towline.model.errors import InvalidParameter

LONGEST = 256
"""Bytes of a line."""
MOST_SCOPES = 4096
"""Of one stream."""
_LONGEST_SCOPE = 64


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """carry: False ends it. Of a scope that is carried already: it begins anew."""

    scope: str
    carry: bool = True


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Subscription)


class Outgoing:
    """A node's scopes as the body of a request, while the stream lasts. What waits is one line for each scope."""

    def __init__(self, scopes: Scopes) -> None:
        self._waiting = dict.fromkeys(scopes, True)
        self._changed = asyncio.Event()
        self._changed.set()
        self._stop = scopes.listen(self._change)

    def _change(self, scope: str, carry: bool) -> None:
        self._waiting.pop(scope, None)
        self._waiting[scope] = carry
        self._changed.set()

    async def body(self) -> AsyncIterator[bytes]:
        """Without end."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            waiting, self._waiting = self._waiting, {}
            for scope, carry in waiting.items():
                yield _encoder.encode(Subscription(scope, carry)) + b"\n"

    def close(self) -> None:
        self._stop()


class Incoming:
    """Bytes of such a body in, changes of `scopes` out. A node's word: nothing of it is believed."""

    def __init__(self, scopes: Scopes) -> None:
        self._scopes = scopes
        self._left = b""

    def feed(self, chunk: bytes) -> None:
        """InvalidParameter for what is no subscription, or for too many."""
        *lines, self._left = (self._left + chunk).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._left) > LONGEST:
            raise InvalidParameter(f"a subscription of more than {LONGEST} bytes")

    def _take(self, line: bytes) -> None:
        try:
            said = _decoder.decode(line[: LONGEST + 1])
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise InvalidParameter(f"a subscription is not understood: {error}") from None
        if not 0 < len(said.scope) <= _LONGEST_SCOPE:
            raise InvalidParameter(f'a scope is "{BASE}", or the id of a network')
        if not said.carry:
            self._scopes.unsubscribe(said.scope)
        elif said.scope in self._scopes or len(self._scopes) < MOST_SCOPES:
            self._scopes.subscribe(said.scope)
        else:
            raise InvalidParameter(f"a stream carries at most {MOST_SCOPES} scopes")
