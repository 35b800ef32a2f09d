"""Join tokens in Docker's format: SWMTKN-1-<digest of the root certificate>-<secret>, both in base 36.

Source: swarmkit ca/config.go (GenerateJoinToken, ParseJoinToken). The digest lets a joining node know the cluster
before it trusts it; the secret says which role it may have.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NamedTuple

from towline.cluster.ids import DIGITS, base36
from towline.model.cluster import Role
from towline.model.errors import InvalidParameter
from towline.model.masked import masked

_PREFIX = "SWMTKN-1"
_DIGEST_DIGITS, _SECRET_DIGITS = 50, 25
_SECRET_BYTES = 16


class Token(NamedTuple):
    """digest: SHA-256 of the root certificate's PEM, hexadecimal."""

    digest: str
    secret: str

    def __repr__(self) -> str:
        return masked(self, self._fields, ("secret",))


def digest_of(ca: str) -> str:
    return hashlib.sha256(ca.encode()).hexdigest()


def new_token(ca: str) -> str:
    """ca: the root certificate, PEM as nodes fetch it."""
    digest = base36(int(digest_of(ca), 16), _DIGEST_DIGITS)
    secret = base36(int.from_bytes(secrets.token_bytes(_SECRET_BYTES), "big"), _SECRET_DIGITS)
    return f"{_PREFIX}-{digest}-{secret}"


def parse_token(text: str) -> Token:
    """InvalidParameter with Docker's text."""
    parts = text.split("-")
    if len(parts) != 4 or "-".join(parts[:2]) != _PREFIX:
        raise _invalid()
    digest, secret = parts[2:]
    sound = len(digest) == _DIGEST_DIGITS and len(secret) == _SECRET_DIGITS
    if not sound or not all(digit in DIGITS for digit in digest + secret):
        raise _invalid()
    number = int(digest, 36)
    if number >> 256:
        raise _invalid()
    return Token(f"{number:064x}", secret)


def role_of(token: str, *, worker: str, manager: str) -> Role | None:
    """Which role a token admits to; None: neither. Takes the same time whatever is wrong with it."""
    is_worker = hmac.compare_digest(token.encode(), worker.encode())
    is_manager = hmac.compare_digest(token.encode(), manager.encode())
    return "manager" if is_manager else "worker" if is_worker else None


def _invalid() -> InvalidParameter:
    return InvalidParameter("invalid join token")
