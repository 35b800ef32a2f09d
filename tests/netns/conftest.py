"""Root ring: each test gets its own network namespace."""

from collections.abc import Iterator

import pytest

from tests.support.netns import Namespace, namespace


@pytest.fixture
def ns() -> Iterator[Namespace]:
    with namespace() as made:
        yield made
