"""Paths and query strings without urllib (9 ms of imports)."""

from __future__ import annotations

from towline.cli import jsontext
from towline.cli.errors import UsageError

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str) -> str:
    """Percent-encode everything but RFC 3986's unreserved characters; bytes that are no UTF-8 stay as they came."""
    return "".join(chr(b) if b in _SAFE else f"%{b:02X}" for b in text.encode("utf-8", "surrogateescape"))


def path(base: str, **parameters: str) -> str:
    """`base` with the parameters that are not empty."""
    pairs = "&".join(f"{name}={quote(value)}" for name, value in parameters.items() if value)
    return f"{base}?{pairs}" if pairs else base


def network_path(term: str) -> str:
    """/networks/{term}, with a slash in the name encoded. UsageError for an empty one, which would mean the list."""
    if not term:
        raise UsageError("the network name is empty")
    return f"/networks/{quote(term)}"


def sandbox_path(term: str, verb: str = "") -> str:
    """/towline/v1/sandboxes/{term}[/verb]. UsageError for an empty term, which would mean the list."""
    if not term:
        raise UsageError("the sandbox name is empty")
    return f"/towline/v1/sandboxes/{quote(term)}{verb and '/'}{verb}"


def service_path(term: str, verb: str = "") -> str:
    """/towline/v1/services/{term}[/verb]. UsageError for an empty term, which would mean the list."""
    if not term:
        raise UsageError("the service name is empty")
    return f"/towline/v1/services/{quote(term)}{verb and '/'}{verb}"


def filters(items: list[str]) -> str:
    """`key=value` items as Docker's filter JSON {"key":{"value":true}}; "" for none."""
    if not items:
        return ""
    chosen: dict[str, dict[str, bool]] = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise UsageError(f'invalid filter "{item}": want KEY=VALUE')
        chosen.setdefault(key.strip().lower(), {})[value.strip()] = True
    return jsontext.dumps(chosen)
