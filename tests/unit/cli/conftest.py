from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.unit.cli.server import FakeDaemon, serving

Serve = Callable[..., FakeDaemon]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOWLINE_HOST", "DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="tl-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def serve(sockets: Path) -> Iterator[Serve]:
    """Starts a fake daemon with canned answers."""
    with ExitStack() as stack:
        yield lambda *answers: stack.enter_context(serving(sockets / "s", *answers))
