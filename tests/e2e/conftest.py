"""Fixtures that start real daemons."""

from tests.support.daemon import daemon, make_daemon

__all__ = ["daemon", "make_daemon"]
