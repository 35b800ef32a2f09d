"""TLS for the API on tcp:// hosts: version 1.2 or newer (docker clients of any age speak it), by dockerd's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from towline.model.config import Config
from towline.model.errors import ConfigError

if TYPE_CHECKING:
    from ssl import SSLContext


def server_context(config: Config) -> SSLContext | None:
    """None without --tls. With --tlsverify only clients whose certificate the CA signed get through the handshake."""
    if not config.tls:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(config.tlscert, config.tlskey)
    except OSError as error:
        raise ConfigError(
            f"cannot use tlscert {config.tlscert} with tlskey {config.tlskey}: {_reason(error)}"
        ) from None
    if config.tlsverify:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(config.tlscacert)
        except OSError as error:
            raise ConfigError(f"cannot use tlscacert {config.tlscacert}: {_reason(error)}") from None
    return context


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
