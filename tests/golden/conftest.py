"""Rendered texts against files beside the tests. `pytest tests/golden --update` writes them anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write the golden files instead of comparing with them")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """golden(name, text): compare with tests/golden/files/<name>.txt."""

    def compare(name: str, text: str) -> None:
        path = Path(__file__).parent / "files" / f"{name}.txt"
        if request.config.getoption("--update", default=False):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.read_text() == text, f"{path.name} differs; if it should, run with --update and review the change"

    return compare
