"""Opens the connection to the daemon; turns what the system refuses into words that help."""

from __future__ import annotations

import errno
import os

from towline.cli.errors import Unreachable, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket as Socket
    from ssl import SSLContext

    from towline.cli.address import Address, Tls
    from towline.cli.http import Channel

CONNECT_SECONDS = 10.0
_START = (
    'Start it with "towlined" (as root) or "systemctl start towlined", or name another daemon with -H or TOWLINE_HOST.'
)


def open_channel(address: Address, timeout: float | None) -> Channel:
    """A connected socket whose reads wait at most `timeout` seconds (None: for ever). Raises Unreachable."""
    if address.path:
        return _open_unix(address, timeout)
    return _open_tcp(address, timeout)


def _open_unix(address: Address, timeout: float | None) -> Channel:
    from _socket import AF_UNIX, SOCK_STREAM, socket  # the public module costs 7 ms

    sock = socket(AF_UNIX, SOCK_STREAM)
    sock.settimeout(CONNECT_SECONDS)
    try:
        sock.connect(address.path)
    except OSError as error:
        sock.close()
        raise _refused_unix(address, error) from None
    sock.settimeout(timeout)
    return sock


def _refused_unix(address: Address, error: OSError) -> Unreachable:
    if error.errno == errno.ENOENT:
        return Unreachable(f"no daemon at {address}: there is no such socket", _START)
    if error.errno == errno.ECONNREFUSED:
        return Unreachable(f"no daemon at {address}: the socket is there, but nobody listens on it", _START)
    if error.errno in (errno.EACCES, errno.EPERM):
        return Unreachable(f"permission denied on {address}", _permission_hint(address.path))
    if isinstance(error, TimeoutError) or error.errno == errno.EAGAIN:
        return Unreachable(f"the daemon at {address} does not accept connections: its queue is full")
    return Unreachable(f"cannot connect to {address}: {reason(error)}")


def _permission_hint(path: str) -> str:
    """Who may use the socket, as its owner, group and mode say."""
    sudo = 'Run the command as root ("sudo towline ...")'
    try:
        state = os.stat(path)
    except OSError:
        return f"{sudo}: its directory is closed to this user."
    if not state.st_mode & 0o020 or state.st_gid == 0:
        return f"{sudo}: only the socket's owner may use it."
    group = _group_name(state.st_gid)
    return f'{sudo}, or join the group "{group}" ("sudo usermod -aG {group} $USER", then log in again).'


def _group_name(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _open_tcp(address: Address, timeout: float | None) -> Channel:
    import socket

    try:
        sock = socket.create_connection((address.host, address.port), CONNECT_SECONDS)
    except OSError as error:
        raise _refused_tcp(address, error) from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        channel = _wrap(sock, address) if address.tls else sock
    except BaseException:
        sock.close()
        raise
    channel.settimeout(timeout)
    return channel


def _refused_tcp(address: Address, error: OSError) -> Unreachable:
    if error.errno == errno.ECONNREFUSED:
        return Unreachable(
            f"no daemon at {address}: connection refused", "Check that towlined has this address among its -H."
        )
    if isinstance(error, TimeoutError):
        return Unreachable(f"no answer from {address} within {CONNECT_SECONDS:g} seconds")
    return Unreachable(f"cannot connect to {address}: {reason(error)}")


def _wrap(sock: Socket, address: Address) -> Socket:
    import ssl

    context = _context(address.tls)
    try:
        return context.wrap_socket(sock, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        text = f"the certificate of {address} does not verify: {error.verify_message}"
        raise Unreachable(text, "Name the daemon's CA with --tlscacert.") from None
    except OSError as error:
        text = f"no TLS connection to {address}: {reason(error)}"
        raise Unreachable(text, "Is TLS on there, and are --tlscert and --tlskey signed by its CA?") from None


def _context(tls: Tls | None) -> SSLContext:
    import ssl

    assert tls is not None
    if bool(tls.cert) != bool(tls.key):
        raise UsageError("--tlscert and --tlskey go together")
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(file for file in (tls.ca, tls.cert, tls.key) if file)
        raise UsageError(f"cannot use the TLS files {files}: {reason(error)}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def reason(error: OSError) -> str:
    """The system's words, in lower case at the start."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
