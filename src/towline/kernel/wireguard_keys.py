"""Curve25519 keys as WireGuard has them, in base64."""

from __future__ import annotations

import secrets
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from towline.model.secure import KEY_BYTES, key_bytes, key_text


def new_private_key() -> str:
    """Clamped (RFC 7748, section 5), as whoever reads it back from an interface sees it."""
    data = bytearray(secrets.token_bytes(KEY_BYTES))
    data[0] &= 248
    data[31] = data[31] & 127 | 64
    return key_text(bytes(data))


@lru_cache(maxsize=16)
def public_key(private: str) -> str:
    """ValueError for what is no key."""
    return key_text(X25519PrivateKey.from_private_bytes(key_bytes(private)).public_key().public_bytes_raw())
