"""Waiting for what other threads bring about, instead of sleeping."""

from threading import Event, Thread

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


def number_asleep(pool):
    """Return how many requests have come to the last step of their way.

    Those that wait as the statistics say may still be on it.
    """
    waiters = [link() for link in list(pool._core.queue.links)]
    return sum(1 for waiter in waiters if waiter and waiter.thread)


def in_threads(function, number):
    """Start threads that call a function."""
    threads = [Thread(target=function, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads


def join(threads):
    """Wait until threads have ended."""
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
