"""Fixtures that start real daemons."""

import pytest

pytest.register_assert_rewrite("tests.support.equality", "tests.support.snapshot")

from tests.support.daemon import daemon, make_daemon  # noqa: E402

__all__ = ["daemon", "make_daemon"]
