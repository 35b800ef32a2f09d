"""HTTP to etcd's members: endpoints one after the other, time-outs, login, sizes, and what etcd's errors mean."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, TypeVar
from weakref import WeakSet

import aiohttp
import msgspec

from towline.cluster import etcd_wire as wire
from towline.cluster.etcd_stream import BROKEN, Stream, reason
from towline.model.errors import Failure, Unavailable
from towline.model.masked import masked

CONNECT, ANSWER = 2.0, 6.0  # seconds, per member
AT_ONCE = 32
LARGEST = 64 << 20  # bytes of one answer
_T = TypeVar("_T")
# A watch on a member that is cut off from the others ends, instead of being silent.
_STREAM_HEADERS = {"Grpc-Metadata-hasleader": "true"}


_LOGIN_WORDS = ("user name is empty", "auth: revision in header", "invalid auth token")


class Login(NamedTuple):
    user: str
    password: str

    def __repr__(self) -> str:
        return masked(self, self._fields, ("password",))


class EtcdRefusal(Failure):
    """etcd answered with an error. code: gRPC's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"etcd: {message.removeprefix('etcdserver: ')}")
        self.code = code

    @property
    def full(self) -> bool:
        """The database has reached its quota."""
        return self.code == wire.EXHAUSTED and "space exceeded" in str(self)


class TooLarge(Failure):
    """An answer has more than LARGEST bytes."""


class _NotSent(Unavailable):
    """No connection: the member has seen nothing of the request."""


class _Dropped(Unavailable):
    """The member closed the connection instead of answering; perhaps just an idle one at the moment of its use."""


class LoginNeeded(Exception):
    """etcd did nothing, because it does not know (any more) who asks."""


class Gateway:
    """endpoints: URLs without a path; the first that answers is used until it fails. login: for an etcd with users.

    silence: seconds after which a stream without a word counts as cut; 0 if the members do not tell progress that often
    (the kernel's keep-alive finds a dead peer then).
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        context: ssl.SSLContext | None = None,
        *,
        login: Login | None = None,
        silence: float = 0,
        answer: float = ANSWER,
    ) -> None:
        self.endpoints = tuple(endpoints)
        self.closed = False
        self._context = context
        self._login = login
        self._token = ""
        self._login_lock = asyncio.Lock()
        self._first = 0
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._patience = 2 * answer
        self._timeout = aiohttp.ClientTimeout(total=answer, sock_connect=CONNECT)
        self._stream_timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=silence or None)
        self._session: aiohttp.ClientSession | None = None
        self._streams: WeakSet[Stream] = WeakSet()

    async def ask(self, path: str, body: object, answer: type[_T], *, again: bool, within: float = 0) -> _T:
        """again: the request may be sent twice, so another member is asked when one does not answer.

        Raises Unavailable, TooLarge, and EtcdRefusal for what etcd refused. A request that a member cannot have seen is
        sent to the next one in any case. within: seconds, where etcd may take longer than usual.
        """
        data = msgspec.json.encode(body)
        try:
            async with asyncio.timeout(within or self._patience), self._turn:
                timeout = aiohttp.ClientTimeout(total=within, sock_connect=CONNECT) if within else self._timeout
                raw = await self._ask_as_user(path, data, again, timeout)
        except TimeoutError as error:
            raise Unavailable(f"etcd: no answer to {path} in time") from error
        try:
            return msgspec.json.decode(raw, type=answer, strict=False)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"etcd: the answer to {path} is not etcd's: {error}") from error

    async def stream(self, path: str, body: object) -> Stream:
        """An answer in lines; the caller closes it. Raises Unavailable."""
        data = msgspec.json.encode(body)
        if self._login is not None and not self._token:
            await self.log_in(self._token)
        failure = Unavailable("etcd: no member is known")
        for place in self._order():
            token = self._token
            try:
                response = await self._post(place, path, data, self._stream_timeout, _STREAM_HEADERS)
                if response.status != 200:
                    refuse(await self._read(place, response))
            except LoginNeeded as error:
                await self.log_in(token)
                raise Unavailable(f"{error}. {self.remedy}") from error
            except (Unavailable, EtcdRefusal, TooLarge) as error:
                failure = Unavailable(str(error))
                continue
            self._first = place
            stream = Stream(response, self.endpoints[place])
            self._streams.add(stream)
            return stream
        raise failure

    async def log_in(self, stale: str | None = None) -> None:
        """A new token. stale: the one that was refused, so that of many callers one logs in; None: in any case."""
        if self._login is None:
            return
        async with self._login_lock:
            if stale is not None and stale != self._token:
                return
            self._token = ""
            data = msgspec.json.encode({"name": self._login.user, "password": self._login.password})
            try:
                raw = await self._ask_all("auth/authenticate", data, True, self._timeout)
                self._token = msgspec.json.decode(raw, type=wire.TokenAnswer).token
            except (EtcdRefusal, LoginNeeded, msgspec.MsgspecError) as error:
                raise Unavailable(f"{error}. {self.remedy}") from error

    @property
    def remedy(self) -> str:
        """When etcd refuses who we are."""
        if self._login is None:
            return "This etcd wants a user: name it in --cluster-store"
        return f"Look at user {self._login.user} and its password"

    @property
    def has_login(self) -> bool:
        return self._login is not None

    async def close(self) -> None:
        self.closed = True
        for each in tuple(self._streams):
            each.close()
        if self._session is not None:
            await self._session.close()

    def _order(self) -> list[int]:
        count = len(self.endpoints)
        return [(self._first + step) % count for step in range(count)]

    def _turn_from(self, place: int) -> None:
        if self._first == place:
            self._first = (place + 1) % len(self.endpoints)

    async def _ask_as_user(self, path: str, data: bytes, again: bool, within: aiohttp.ClientTimeout) -> bytes:
        """What etcd answers to an old token it has not done."""
        token = self._token
        try:
            return await self._ask_all(path, data, again, within)
        except LoginNeeded:
            await self.log_in(token)
        try:
            return await self._ask_all(path, data, again, within)
        except LoginNeeded as error:
            raise Unavailable(f"{error}. {self.remedy}") from error

    async def _ask_all(self, path: str, data: bytes, again: bool, within: aiohttp.ClientTimeout) -> bytes:
        failure = Unavailable("etcd: no member is known")
        order = self._order()
        for turn, place in enumerate(order):
            try:
                raw = await self._ask_one(place, path, data, within)
            except Unavailable as error:
                failure = error
                self._turn_from(place)
                if not again and not isinstance(error, _NotSent):
                    raise
                if again and isinstance(error, _Dropped) and turn < len(self.endpoints):
                    order.append(place)
            else:
                self._first = place
                return raw
        raise failure

    async def _ask_one(self, place: int, path: str, data: bytes, within: aiohttp.ClientTimeout) -> bytes:
        response = await self._post(place, path, data, within)
        raw = await self._read(place, response)
        if response.status != 200:
            refuse(raw)
        return raw

    async def _read(self, place: int, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async for part in response.content.iter_any():
                size += len(part)
                if size > LARGEST:
                    raise TooLarge(f"etcd: an answer of more than {LARGEST} bytes")
                parts.append(part)
        except BROKEN as error:
            raise Unavailable(f"etcd: {self.endpoints[place]} does not answer: {reason(error)}") from error
        finally:
            response.release()
        return b"".join(parts)

    async def _post(
        self, place: int, path: str, data: bytes, within: aiohttp.ClientTimeout, more: dict[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        if self.closed:
            raise Unavailable("etcd: the connection is closed")
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._context or True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, read_bufsize=1 << 18)
        endpoint = self.endpoints[place]
        headers = {**(more or {}), **({"Authorization": self._token} if self._token else {})}
        try:
            return await self._session.post(
                f"{endpoint}/v3/{path}", data=data, headers=headers, timeout=within, allow_redirects=False
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _NotSent(f"etcd: no connection to {endpoint}: {reason(error)}") from error
        except (aiohttp.ServerDisconnectedError, ConnectionResetError) as error:
            raise _Dropped(f"etcd: {endpoint} does not answer: {reason(error)}") from error
        except BROKEN as error:
            raise Unavailable(f"etcd: {endpoint} does not answer: {reason(error)}") from error
        except RuntimeError as error:  # the session was closed meanwhile
            raise Unavailable(f"etcd: {error}") from error


def login_needed(code: int, message: str) -> bool:
    return code == wire.UNAUTHENTICATED or any(each in message for each in _LOGIN_WORDS)


def refuse(raw: bytes) -> NoReturn:
    """Raise what an answer that is not 200 means."""
    try:
        error = msgspec.json.decode(raw, type=wire.ErrorAnswer, strict=False)
    except msgspec.MsgspecError:
        raise Unavailable("etcd: what answers there is not etcd") from None
    refusal = EtcdRefusal(error.code, error.message)
    if login_needed(error.code, error.message):
        raise LoginNeeded(str(refusal))
    if "unhealthy cluster" in error.message:  # so says a refused change of members; nothing was done
        raise refusal
    if error.code in (wire.UNAVAILABLE, wire.DEADLINE) or (refusal.code == wire.EXHAUSTED and not refusal.full):
        raise Unavailable(str(refusal))
    raise refusal
