"""The same operations have the same effects as with the reference release.

Random sequences of operations and failures are run by this library and by
DBUtils 3.2.0, each in a process of its own.  Where the two disagree, one of
the named differences has to explain that.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import differences
import pytest
import sequences
from folders import TESTS

import dbutils

pytestmark = pytest.mark.portable

IN_CI = bool(os.environ.get("CI"))
REFERENCE = "3.2.0"
# the newest Python compares more than the others
IS_THOROUGH = sys.version_info >= (3, 13)
NUMBER = 10_000 if IS_THOROUGH else 2_000
BATCHES = 4
# every Python tries other sequences
FIRST = 10_000 * sys.version_info[1]
PATIENCE = 600  # seconds


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Install the reference release into a directory of its own."""
    folder = tmp_path_factory.mktemp("reference")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
         "--disable-pip-version-check", "--target", str(folder),
         f"DBUtils=={REFERENCE}"],
        check=False, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=PATIENCE)
    if done.returncode:
        problem = f"DBUtils {REFERENCE} cannot be installed: {done.stdout}"
        if IN_CI:
            pytest.fail(problem)
        pytest.skip(problem)
    return str(folder)


def run(batch, place, version):
    """Return what is observed with the library at a place."""
    done = subprocess.run(
        [sys.executable, str(TESTS / "differential" / "runner.py"), place,
         version],
        check=True, text=True, input=json.dumps(batch),
        stdout=subprocess.PIPE, timeout=PATIENCE)
    return json.loads(done.stdout)


def run_both(batch, reference):
    """Return what this library and the reference do, at the same time."""
    with ThreadPoolExecutor(2) as executor:
        ours = executor.submit(run, batch, "-", dbutils.__version__)
        theirs = executor.submit(run, batch, reference, REFERENCE)
        return ours.result(), theirs.result()


def is_unexplained(sequence, reference):
    """Tell whether there is a difference that has no name."""
    ours, theirs = run_both([sequence], reference)
    number, name = differences.explanation_of(sequence, ours[0], theirs[0])
    return number is not None and name is None


def shrink(sequence, reference):
    """Leave out steps as long as the difference stays."""
    steps = sequence["steps"]
    for number in reversed(range(len(steps))):
        fewer = dict(sequence, steps=steps[:number] + steps[number + 1:])
        if is_unexplained(fewer, reference):
            sequence, steps = fewer, fewer["steps"]
    return sequence


def describe(sequence, reference):
    """Say what the libraries do in the step in which they differ."""
    ours, theirs = run_both([sequence], reference)
    number, _ = differences.explanation_of(sequence, ours[0], theirs[0])
    return "\n".join([
        json.dumps(sequence), f"step {number}:",
        f"ours:   {json.dumps(ours[0][number])}",
        f"theirs: {json.dumps(theirs[0][number])}"])


def test_the_libraries_agree_wherever_they_are_meant_to(reference):
    seen = Counter()
    for first in range(FIRST, FIRST + NUMBER, NUMBER // BATCHES):
        batch = [sequences.sequence(seed)
                 for seed in range(first, first + NUMBER // BATCHES)]
        if first == FIRST:  # what comes about by chance too seldom
            batch[:len(sequences.EXAMPLES)] = sequences.EXAMPLES
        ours, theirs = run_both(batch, reference)
        for sequence, here, there in zip(batch, ours, theirs):
            number, name = differences.explanation_of(sequence, here, there)
            if number is not None and name is None:
                pytest.fail(describe(shrink(sequence, reference), reference))
            seen[name] += 1
    assert sum(seen.values()) == NUMBER
    assert seen[None] > 0.9 * NUMBER
    unseen = [difference.__name__ for difference in differences.ALL
              if not seen[difference.__name__]]
    assert unseen == [] or not IS_THOROUGH


def test_a_wrong_library_is_noticed(reference):
    with pytest.raises(subprocess.CalledProcessError):
        run([], reference, dbutils.__version__)


def test_a_disagreement_without_a_name_is_noticed():
    sequence = {"family": "steady_db", "options": {}, "steps": [["cut", 0]]}
    ours = [{"log": [], "outcome": None}] * 2
    theirs = [ours[0], {"log": [["commit", 1]], "outcome": None}]
    assert differences.explanation_of(sequence, ours, ours) == (None, None)
    assert differences.explanation_of(sequence, ours, theirs) == (1, None)
