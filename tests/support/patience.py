"""Waiting for what other threads bring about, instead of sleeping."""

from threading import Event

import pytest

PATIENCE = 60  # seconds after which a test has failed


def wait_until(condition):
    """Wait for a condition; fail if it does not come true."""
    tick = Event()
    for _ in range(PATIENCE * 1000):
        if condition():
            return
        tick.wait(0.001)
    pytest.fail("The condition did not come true in time.")
