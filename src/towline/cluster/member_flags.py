"""How a manager's etcd is started: its configuration and its command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

import msgspec

QUOTA = 2 << 30
PROGRESS = 5  # seconds between two words of an idle watch
# Of TLS 1.2, which etcd 3.4 cannot switch off, only these; between Go programs and from us it is 1.3 always.
_CIPHERS = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"

Begin = Literal["new", "join", "resume", "force-new"]
"""new: the first member of a cluster. join: of a cluster that has added us (`Members.add`). resume: with the data that
is there. force-new: the same, and this member alone is the cluster from now on: for a quorum that is lost."""


class Tls(msgspec.Struct, frozen=True):
    """Paths of PEM files. The certificate is server and client, of members and of us; names: the advertised address and
    127.0.0.1. etcd reads certificate and key again for each connection, so they are renewed by being replaced."""

    ca: str
    certificate: str
    key: str


class MemberConfig(msgspec.Struct, frozen=True):
    """root: where `etcd/` (its data) and its log are. advertise: bare address by which other members reach this one.
    quota: bytes; when its database has grown to that, etcd refuses to write. retention: of history, as Go writes it.
    """

    name: str
    root: str
    advertise: str
    peer_port: int
    client_port: int
    tls: Tls
    quota: int = QUOTA
    retention: str = "1h"
    program: str = "etcd"

    @property
    def data(self) -> str:
        return f"{self.root}/etcd"

    @property
    def has_data(self) -> bool:
        return os.path.isdir(f"{self.data}/member")

    @property
    def peer_url(self) -> str:
        host = f"[{self.advertise}]" if ":" in self.advertise else self.advertise
        return f"https://{host}:{self.peer_port}"

    @property
    def client_url(self) -> str:
        return f"https://127.0.0.1:{self.client_port}"


def command_line(
    config: MemberConfig, begin: Begin, others: Mapping[str, str] | None = None, token: str = ""
) -> list[str]:
    """others: for `join`, the peer URLs of all other members by name. token: for `new`, a word that no other cluster
    has, from which etcd makes the cluster's id."""
    flags = {
        "name": config.name,
        "data-dir": config.data,
        "listen-peer-urls": config.peer_url,
        "initial-advertise-peer-urls": config.peer_url,
        "listen-client-urls": config.client_url,
        "advertise-client-urls": config.client_url,
        "cert-file": config.tls.certificate,
        "key-file": config.tls.key,
        "trusted-ca-file": config.tls.ca,
        "client-cert-auth": "true",
        "peer-cert-file": config.tls.certificate,
        "peer-key-file": config.tls.key,
        "peer-trusted-ca-file": config.tls.ca,
        "peer-client-cert-auth": "true",
        # The CA signs for managers only. The address that one calls from need not be the one that it is called by.
        "experimental-peer-skip-client-san-verification": "true",
        "cipher-suites": _CIPHERS,
        "quota-backend-bytes": str(config.quota),
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": config.retention,
        "experimental-watch-progress-notify-interval": f"{PROGRESS}s",
        "strict-reconfig-check": "true",
        "pre-vote": "true",
        "logger": "zap",
        "log-level": "warn",
        "log-outputs": "stderr",
    }
    members = {**(others or {}), config.name: config.peer_url}
    if begin in ("new", "join"):
        flags["initial-cluster"] = ",".join(f"{name}={url}" for name, url in sorted(members.items()))
        flags["initial-cluster-state"] = "new" if begin == "new" else "existing"
        flags["initial-cluster-token"] = token or config.name
    if begin == "force-new":
        flags["force-new-cluster"] = "true"
    return [config.program, *(f"--{name}={value}" for name, value in flags.items())]
