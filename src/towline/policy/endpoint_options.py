"""Options of an endpoint that every driver with interfaces understands: its interface's name and sysctls."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from towline.drivers.endpoint import IFNAME, SYSCTLS
from towline.policy.texts import shown

LONGEST_IFNAME = 15
"""Bytes: IFNAMSIZ less the closing NUL (linux/if.h)."""

_SYSCTL = re.compile(r"net\.(?:ipv4|ipv6|mpls)\.[a-z0-9_]+\.(?:IFNAME|ifname)\.([a-z0-9_.-]+)=([^\0\n]*)", re.ASCII)


def what_is_wrong_with_options(options: Mapping[str, str]) -> Iterator[str]:
    """One text for each fault; options that are not known are passed on, as Docker does."""
    if (ifname := options.get(IFNAME)) is not None and (why := what_is_wrong_with_ifname(ifname)):
        yield f"invalid interface name {shown(ifname)} ({IFNAME}): {why}"
    for setting in options[SYSCTLS].split(",") if options.get(SYSCTLS) else ():
        known = _SYSCTL.fullmatch(setting.strip())
        if known is None or ".." in known[1]:
            yield (
                f"unrecognised network interface sysctl '{setting}'; represent 'net.X.Y.ethN.Z=V' as "
                "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )


def what_is_wrong_with_ifname(text: str) -> str:
    """Why the kernel would not take it (dev_valid_name in net/core/dev.c), or why it may not be; "" if it is right."""
    if not text:
        return "it is empty"
    if len(text.encode("utf-8", "surrogateescape")) > LONGEST_IFNAME:
        return f"it is longer than {LONGEST_IFNAME} bytes"
    if text in (".", "..") or any(c in "/:%" or c.isspace() or not c.isprintable() for c in text):
        return "it may not hold '/', ':', '%', blanks or control characters, or be '.' or '..'"
    return "the loopback interface has this name" if text == "lo" else ""
