"""Running something in a forked child."""

import gc
import os
import pickle
import warnings

import pytest

needs_fork = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="there are no forks")


def in_child(function):
    """Return what a function returns in a forked child."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # of Python 3.12 and later, if other tests have left threads
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            answer = function()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        try:
            gc.collect()
            os.write(writer, pickle.dumps(answer))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    assert os.waitpid(child, 0)[1] == 0
    return pickle.loads(answer)
