"""The plugin for pytest."""

from __future__ import annotations

import pytest

TYPE_CHECKING = False  # it imports nothing of the library until it is used
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["dbutils_pool_guard"]


@pytest.fixture
def dbutils_pool_guard() -> Iterator[None]:
    """Fail if the test leaves connections of pools in use.

    It must have given all of them back when its other fixtures have ended.
    The message names the places where they were taken.  This line in the
    configuration of pytest is enough for all tests:

        usefixtures = dbutils_pool_guard
    """
    from .guard import LeaseGuard  # noqa: PLC0415 - only if needed

    with LeaseGuard() as guard:
        yield
        left = guard.left()
    if left:
        pytest.fail(
            "The test has left connections in use: [DBU-93]\n- "
            + "\n- ".join(left),
            pytrace=False)
