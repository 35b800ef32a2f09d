"""TCP_REPAIR: Linux lets a privileged process read and set what an established connection consists of.

Sources: include/uapi/linux/tcp.h, net/ipv4/tcp.c (tcp_repair_*). All of it needs CAP_NET_ADMIN in the user namespace
that owns the network namespace. While a socket is in repair it sends nothing, not even when it is closed.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
import termios

from towline.repair.connection import Connection, Window

_REPAIR, _QUEUE, _QUEUE_SEQ, _OPTIONS, _TIMESTAMP, _WINDOW = 19, 20, 21, 22, 24, 29
_OFF, _ON, _OFF_SILENTLY = 0, 1, -1
_NO_QUEUE, _RECEIVE, _SEND = 0, 1, 2
_SIOCOUTQNSD = 0x894B
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE, _SO_BUF_LOCK = 32, 33, 72
_ESTABLISHED = 1
_WITH_TIMESTAMPS, _WITH_SACK, _WITH_SCALES = 1, 2, 4
_OPT_MSS, _OPT_SCALES, _OPT_SACK, _OPT_TIMESTAMPS = 2, 3, 4, 8
_REPAIR_WINDOW = struct.Struct("=5I")
_REPAIR_OPTION = struct.Struct("=II")
_INFO = struct.Struct("=8B")  # state, ca_state, retransmits, probes, backoff, options, scales, rate limited
_CHUNK = 64 * 1024
_KEPT = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    (socket.SOL_SOCKET, socket.SO_OOBINLINE),
    (socket.SOL_SOCKET, socket.SO_PRIORITY),
    (socket.SOL_SOCKET, socket.SO_MARK),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
)


class NotEstablished(ValueError):
    """Only connections that both ends may still write to can be taken."""


def freeze(sock: socket.socket) -> Connection:
    """Everything that the connection is. The socket stays, in repair: silent, and deaf to its program.

    Cut the network off before: a segment that arrives between two of the reads below would be acknowledged and lost.
    NotEstablished, or OSError (PermissionError without CAP_NET_ADMIN), with the connection going on as it was.
    """
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    state, options, scales = info[0], info[5], info[6]
    if state != _ESTABLISHED:
        raise NotEstablished(f"the connection of socket {sock.fileno()} is in state {state}, not established")
    timeout = sock.gettimeout()
    sock.setsockopt(socket.IPPROTO_TCP, _REPAIR, _ON)
    try:
        sock.settimeout(None)  # with one, Python would wait for something to read before it looks into the send queue
        return _read(sock, options, scales)
    except BaseException:
        thaw(sock)
        raise
    finally:
        sock.settimeout(timeout)


def thaw(sock: socket.socket) -> None:
    """A connection that was frozen, and is not put anywhere else, goes on here."""
    sock.setsockopt(socket.IPPROTO_TCP, _REPAIR, _OFF_SILENTLY)
    _share_port(sock)


def take(sock: socket.socket) -> Connection:
    """`freeze`, and the socket is closed without a word to the peer. Keep the network cut off as long as the address
    is here: what still arrives would be answered with a reset."""
    found = freeze(sock)
    sock.close()
    return found


def put(connection: Connection) -> socket.socket:
    """The connection, in the network namespace of this thread. It sends nothing, and answers nothing, until `go`.

    Its local address must be there. OSError where the kernel refuses; nothing is left then.
    """
    family = socket.AF_INET6 if connection.ipv6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _write(sock, connection)
    except BaseException:
        sock.close()
        raise
    return sock


def go(sock: socket.socket, connection: Connection) -> None:
    """Out of repair: the peer hears a window probe, and gets what was not sent yet.

    To be called when the address is announced and the network is open. A socket that does not block may leave bytes
    behind: BlockingIOError; make it so afterwards.
    """
    sock.setsockopt(socket.IPPROTO_TCP, _REPAIR, _OFF)
    _share_port(sock)
    if connection.unsent:
        sock.sendall(connection.unsent)


def _share_port(sock: socket.socket) -> None:
    """Leaving repair takes SO_REUSEADDR away (do_tcp_setsockopt in net/ipv4/tcp.c): nobody could listen there again."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _read(sock: socket.socket, options: int, scales: int) -> Connection:
    received = _peek(sock, _RECEIVE, _count(sock, termios.FIONREAD))
    written = _peek(sock, _SEND, _count(sock, termios.TIOCOUTQ))
    unsent = min(_count(sock, _SIOCOUTQNSD), len(written))
    sent = len(written) - unsent
    scaled = bool(options & _WITH_SCALES)
    found = Connection(
        local=sock.getsockname()[:2],
        remote=sock.getpeername()[:2],
        receive_sequence=_sequence(sock, _RECEIVE),
        send_sequence=_sequence(sock, _SEND),
        received=received,
        sent=written[:sent],
        unsent=written[sent:],
        mss=sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG),
        send_scale=scales & 15 if scaled else -1,
        receive_scale=scales >> 4 if scaled else -1,
        selective=bool(options & _WITH_SACK),
        timestamp=sock.getsockopt(socket.IPPROTO_TCP, _TIMESTAMP) & 0xFFFFFFFF if options & _WITH_TIMESTAMPS else 0,
        window=Window(*_REPAIR_WINDOW.unpack(sock.getsockopt(socket.IPPROTO_TCP, _WINDOW, _REPAIR_WINDOW.size))),
        options=tuple((level, name, sock.getsockopt(level, name)) for level, name in _KEPT),
    )
    _select(sock, _NO_QUEUE)
    return found


def _write(sock: socket.socket, connection: Connection) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, _REPAIR, _ON)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if connection.mss:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, connection.mss)
    _make_room(sock, connection)
    _set_sequence(sock, _RECEIVE, connection.receive_sequence - len(connection.received))
    _set_sequence(sock, _SEND, connection.send_sequence - len(connection.sent) - len(connection.unsent))
    sock.bind(connection.local)
    sock.connect(connection.remote)
    sock.setsockopt(socket.IPPROTO_TCP, _OPTIONS, _agreed(connection))
    if connection.timestamp:
        sock.setsockopt(socket.IPPROTO_TCP, _TIMESTAMP, _signed(connection.timestamp))
    _fill(sock, _RECEIVE, connection.received)
    _fill(sock, _SEND, connection.sent)
    window = connection.window
    packed = _REPAIR_WINDOW.pack(window.snd_wl1, window.snd_wnd, window.max_window, window.rcv_wnd, window.rcv_wup)
    sock.setsockopt(socket.IPPROTO_TCP, _WINDOW, packed)
    _select(sock, _NO_QUEUE)
    for level, name, value in connection.options:
        if (level, name) in _KEPT and value != sock.getsockopt(level, name):
            sock.setsockopt(level, name, value)


def _agreed(connection: Connection) -> bytes:
    """What the handshake had agreed on: struct tcp_repair_opt."""
    found = [(_OPT_MSS, connection.mss)]
    if connection.send_scale >= 0:
        found.append((_OPT_SCALES, connection.send_scale | connection.receive_scale << 16))
    if connection.selective:
        found.append((_OPT_SACK, 0))
    if connection.timestamp:
        found.append((_OPT_TIMESTAMPS, 0))
    return b"".join(_REPAIR_OPTION.pack(*each) for each in found)


def _make_room(sock: socket.socket, connection: Connection) -> None:
    """The queues must fit, what is unsent too, so that `go` need not wait for the peer; then the kernel may size the
    buffers by itself again."""
    written = len(connection.sent) + len(connection.unsent)
    for name, size in ((_SO_RCVBUFFORCE, len(connection.received)), (_SO_SNDBUFFORCE, written)):
        if size > _CHUNK:
            sock.setsockopt(socket.SOL_SOCKET, name, 2 * size)
            sock.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, 0)


def _peek(sock: socket.socket, queue: int, size: int) -> bytes:
    if not size:
        return b""
    _select(sock, queue)
    found = sock.recv(size + 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    if len(found) != size:
        raise OSError(f"socket {sock.fileno()}: {len(found)} bytes in a queue that has {size}")
    return found


def _fill(sock: socket.socket, queue: int, data: bytes) -> None:
    _select(sock, queue)
    view = memoryview(data)
    while view:
        view = view[sock.send(view[:_CHUNK]) :]


def _count(sock: socket.socket, request: int) -> int:
    number = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), request, number, True)
    return number[0]


def _select(sock: socket.socket, queue: int) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, _QUEUE, queue)


def _sequence(sock: socket.socket, queue: int) -> int:
    _select(sock, queue)
    return sock.getsockopt(socket.IPPROTO_TCP, _QUEUE_SEQ) & 0xFFFFFFFF


def _set_sequence(sock: socket.socket, queue: int, number: int) -> None:
    _select(sock, queue)
    sock.setsockopt(socket.IPPROTO_TCP, _QUEUE_SEQ, _signed(number & 0xFFFFFFFF))


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number
