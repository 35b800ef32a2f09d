"""wireguard-go's control protocol: lines of text over a unix socket (https://www.wireguard.com/xplatform/)."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from towline.kernel.wireguard_codec import Dump
from towline.kernel.wireguard_contract import WgPeer, WgPeerState
from towline.model.errors import KernelError
from towline.model.secure import key_bytes, key_text

DIRECTORY = "/var/run/wireguard"
_PATIENCE = 3.0
_LARGEST = 16 << 20


def socket_path(name: str) -> str:
    return f"{DIRECTORY}/{name}.sock"


def set_device(private: str, port: int) -> str:
    return f"set=1\nprivate_key={key_bytes(private).hex()}\nlisten_port={port}\n\n"


def set_peers(puts: Sequence[WgPeer], gone: Sequence[str]) -> str:
    lines = ["set=1"]
    for peer in puts:
        lines += [f"public_key={key_bytes(peer.public).hex()}"]
        if peer.endpoint is not None:
            address, port = peer.endpoint
            lines.append(f"endpoint=[{address}]:{port}" if ":" in address else f"endpoint={address}:{port}")
        lines.append(f"persistent_keepalive_interval={peer.keepalive}")
        lines += [f"allowed_ip={cidr}" for cidr in peer.allowed]
    for public in gone:
        lines += [f"public_key={key_bytes(public).hex()}", "remove=true"]
    return "\n".join([*lines, "", ""])


GET = "get=1\n\n"


def parse_errno(answer: str) -> int:
    """Positive; EBADMSG where there is none."""
    for line in answer.splitlines():
        key, _, value = line.partition("=")
        if key == "errno":
            with suppress(ValueError):
                return abs(int(value))
    return errno.EBADMSG


def parse_device(name: str, answer: str, public_of: dict[str, str]) -> Dump:
    """public_of: private key in hex -> public key in base64: the protocol tells the private one only."""
    public, port = "", 0
    peers: list[WgPeerState] = []
    for line in answer.splitlines():
        key, _, value = line.partition("=")
        if key == "public_key":
            peers.append(WgPeerState(WgPeer(key_text(bytes.fromhex(value)))))
        elif key == "private_key":
            public = public_of.get(value, "?")
        elif key == "listen_port":
            port = int(value)
        elif peers:
            peers[-1] = _with(peers[-1], key, value)
    return Dump(name, public, port, tuple(peers))


def _with(state: WgPeerState, key: str, value: str) -> WgPeerState:
    replace = msgspec.structs.replace
    match key:
        case "endpoint":
            address, _, port = value.rpartition(":")
            return replace(state, peer=replace(state.peer, endpoint=(address.strip("[]"), int(port))))
        case "allowed_ip":
            return replace(state, peer=replace(state.peer, allowed=(*state.peer.allowed, value)))
        case "persistent_keepalive_interval":
            return replace(state, peer=replace(state.peer, keepalive=int(value)))
        case "last_handshake_time_sec":
            return replace(state, handshake=state.handshake + int(value))
        case "last_handshake_time_nsec":
            return replace(state, handshake=state.handshake + int(value) / 1e9)
        case "rx_bytes":
            return replace(state, rx=int(value))
        case "tx_bytes":
            return replace(state, tx=int(value))
    return state


def exchange(name: str, request: str) -> str:
    """The answer, whose errno is 0. Blocks, 3 s at most. KernelError."""
    operation = f"configure WireGuard interface {name}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(_PATIENCE)
            sock.connect(socket_path(name))
            sock.sendall(request.encode())
            answer = bytearray()
            while not answer.endswith(b"\n\n") and (data := sock.recv(1 << 16)):
                answer += data
                if len(answer) > _LARGEST:
                    raise KernelError(errno.EMSGSIZE, operation)
    except TimeoutError as error:
        raise KernelError(errno.ETIMEDOUT, operation, "wireguard-go does not answer") from error
    except OSError as error:
        raise KernelError(error.errno or errno.EIO, operation, error.strerror or "") from error
    text = answer.decode(errors="replace")
    if code := parse_errno(text):
        raise KernelError(code, operation)
    return text
