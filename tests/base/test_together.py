"""Calling several functions at the same time."""

from threading import Barrier, get_ident

import pytest
from patience import PATIENCE

from dbutils._base.together import run_together


def test_functions_run_at_the_same_time():
    """Those of the helpers end at last, while the caller waits for them."""
    barrier = Barrier(4)

    def meet():
        return barrier.wait(PATIENCE)

    assert sorted(run_together([meet] * 4)) == [0, 1, 2, 3]


def test_the_results_come_in_the_order_of_the_functions():
    assert run_together([lambda n=n: n for n in range(20)]) == [*range(20)]


def test_what_a_helper_did_not_finish_is_done_by_the_caller():
    caller, barrier, calls = get_ident(), Barrier(2), []

    def work():
        calls.append(get_ident())
        if len(calls) <= 2:
            barrier.wait(PATIENCE)
        if get_ident() != caller:
            raise SystemExit
        return "done"

    assert run_together([work, work]) == ["done", "done"]
    assert len(calls) == 3
    assert calls[2] == caller


def test_the_first_error_is_raised_when_all_have_ended():
    ended = []

    def fail(number):
        ended.append(number)
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        run_together([lambda n=n: fail(n) for n in range(5)])
    assert sorted(ended) == [0, 1, 2, 3, 4]
