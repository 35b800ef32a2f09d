"""What a client may put into a sandbox's /etc/hosts and /etc/resolv.conf (texts: docker/cli opts)."""

from __future__ import annotations

import re
from ipaddress import ip_address

from towline.model.errors import InvalidParameter
from towline.model.sandbox import DnsConfig
from towline.policy.texts import check_one_line, shown, what_is_wrong_with_name

_DOMAIN = re.compile(
    r"[a-zA-Z0-9_](?:[a-zA-Z0-9_-]*[a-zA-Z0-9_])?(?:\.[a-zA-Z0-9_](?:[a-zA-Z0-9_-]*[a-zA-Z0-9_])?)*\.?"
)


def check_dns(dns: DnsConfig) -> None:
    """InvalidParameter for the first text that would make another line or another meaning of it."""
    for server in dns.servers:
        if not _is_address(server):
            raise InvalidParameter(
                f"IP address is not correctly formatted: {shown(server)}: a DNS server is an address"
            )
    for domain in dns.search:
        if domain != "." and (not _DOMAIN.fullmatch(domain) or len(domain) > 255):
            raise InvalidParameter(f"{shown(domain)} is not a valid domain to search; '.' alone means none")
    for option in dns.options:
        check_one_line("DNS option", option)
        if not option or " " in option:
            raise InvalidParameter(f"DNS option {shown(option)}: give one word each, as ndots:2")


def split_extra_host(entry: str) -> tuple[str, str]:
    """(name, address) of NAME:ADDRESS or NAME=ADDRESS; brackets around the address are taken off. InvalidParameter."""
    separator = "=" if "=" in entry else ":"
    name, found, address = entry.partition(separator)
    if not found or not name or not address:
        raise InvalidParameter(f"bad format for add-host: {shown(entry)}: write NAME:ADDRESS")
    if why := what_is_wrong_with_name(name):
        raise InvalidParameter(f"bad format for add-host: {shown(entry)}: {why}")
    bare = address[1:-1] if address[0] == "[" and address[-1] == "]" else address
    if not _is_address(bare):
        raise InvalidParameter(f"invalid IP address in add-host: {shown(address)}: write NAME:ADDRESS")
    return name, bare


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return text.isprintable()
