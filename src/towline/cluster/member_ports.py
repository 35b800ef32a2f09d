"""Whether a manager can be one on this host, asked before anything is begun."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Sequence

from towline.cluster.member_flags import MemberConfig
from towline.model.errors import Unavailable


def check_host(config: MemberConfig, listen: str, port: int) -> None:
    """Unavailable, with the remedy: etcd is not installed, or an address cannot be listened on."""
    if shutil.which("etcd") is None:
        raise Unavailable("there is no etcd on this machine: install the package etcd-server")
    check_ports([(listen, port), (config.advertise, config.peer_port), ("127.0.0.1", config.client_port)])


def check_ports(wanted: Sequence[tuple[str, int]]) -> None:
    """Unavailable, naming the first one of which no socket can be had."""
    for host, port in wanted:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)
            except OSError as error:
                name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                why = (error.strerror or "").lower()
                raise Unavailable(
                    f"failed to listen on remote API address: listen tcp {name}: bind: {why}: "
                    "a manager needs the listen port and the two after it"
                ) from None
