"""How one sandbox's server forwards, as `resolvconf.render_internal` finds it out."""

from __future__ import annotations

import msgspec

RESOLVER = "127.0.0.11"
"""Where every sandbox finds its server, as in Docker."""
MAX_UPSTREAMS = 3


class Upstream(msgspec.Struct, frozen=True):
    """host: asked from the host's network namespace (it came from the host's file), else from the sandbox's."""

    address: str
    host: bool

    def __str__(self) -> str:
        return f"host({self.address})" if self.host else self.address


class ServerConfig(msgspec.Struct, frozen=True):
    """upstreams: in order, the first three are used. ndots: see `answer.answer`."""

    upstreams: tuple[Upstream, ...] = ()
    ndots: bool = False
