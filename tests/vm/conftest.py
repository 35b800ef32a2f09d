"""Full-kernel ring: everything here runs in one boot of the machine of `make vm`."""

from collections.abc import Iterator

import pytest

from tests.support.machine import need_machine
from tests.support.netns import Namespace, namespace


@pytest.fixture(autouse=True, scope="session")
def machine() -> None:
    need_machine()


@pytest.fixture
def ns() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


@pytest.fixture
def other() -> Iterator[Namespace]:
    with namespace() as made:
        yield made
