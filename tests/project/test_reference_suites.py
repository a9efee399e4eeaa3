"""The test suites of the reference releases pass with this library.

They are those of their source distributions.  Which of their tests fail, and
why, is said here by name.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import dbutils

pytestmark = pytest.mark.portable

IN_CI = bool(os.environ.get("CI"))
PATIENCE = 600  # seconds
PACKAGE = Path(dbutils.__file__).resolve().parent

# How many tests there are in the suites of the releases.
SUITES = {"3.1.2": 140, "3.2.0": 320}

# The tests that fail, with the reasons.
EXCEPTIONS = {
    "3.2.0": {
        "tests.test_pooled_db::test_shared_db_connection_equality":
            "records of the same rank are equal, as in 3.1 and its manual",
    },
}

# Runs a suite, but only with the library that is to be tested.
RUNNER = """
import sys
from pathlib import Path
import dbutils, pytest
where = Path(dbutils.__file__).resolve().parent
if str(where) != sys.argv[1]:
    sys.exit(f"This is another library: {where}")
sys.exit(pytest.main(sys.argv[2:]))
"""


def give_up(problem):
    """Say that a suite cannot be had, which is a failure in CI only."""
    if IN_CI:
        pytest.fail(problem)
    pytest.skip(problem)


def pythons():
    """Yield what may be a Python that can get the sources.

    It need not be the one that runs the tests: what the sources are built
    with exists for Python 3.9 and later.
    """
    if sys.version_info >= (3, 9):
        yield sys.executable
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for minor in range(13, 8, -1):
        yield shutil.which(f"python3.{minor}")
        yield from sorted(root.glob(f"versions/3.{minor}.*/bin/python"))


def has_pip(python):
    """Tell whether a Python really runs, and has what gets the sources."""
    return python is not None and not subprocess.run(
        [str(python), "-c", "import pip"], check=False,
        stderr=subprocess.DEVNULL, timeout=PATIENCE).returncode


@pytest.fixture(scope="module")
def python():
    """A Python that can get the sources."""
    found = next(filter(has_pip, pythons()), None)
    return found or give_up("There is no Python that can get the sources.")


@pytest.fixture(params=SUITES)
def version(request):
    """The reference release."""
    return request.param


@pytest.fixture
def suite(version, python, tmp_path):
    """The folder that contains the tests of a release, and nothing else."""
    folder = tmp_path / "sources"
    done = subprocess.run(
        [str(python), "-m", "pip", "download", "--quiet", "--no-deps",
         "--disable-pip-version-check", "--no-binary", "DBUtils",
         "--dest", str(folder), f"DBUtils=={version}"],
        check=False, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=PATIENCE)
    if done.returncode:
        give_up(f"DBUtils {version} cannot be had: {done.stdout}")
    archive, = folder.glob("*.tar.gz")
    suite = tmp_path / "suite"
    with tarfile.open(archive) as sources:
        for member in sources.getmembers():
            parts = Path(member.name).parts[1:]
            if member.isfile() and parts[:1] == ("tests",):
                target = suite.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(sources.extractfile(member).read())
    return suite


def run(suite, package=PACKAGE):
    """Run a suite; return which of its tests pass, and which do not."""
    results = suite / "results.xml"
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(package), "-q", "-p",
         "no:cacheprovider", f"--rootdir={suite}", f"--junitxml={results}",
         "tests"],
        check=False, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=PATIENCE, cwd=str(suite),
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent),
             "PYTEST_ADDOPTS": ""})
    assert results.exists(), done.stdout
    outcomes = {}
    for case in ET.parse(results).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        outcomes[name] = not list(case)  # the reason why it has not passed
    return outcomes, done.stdout


def test_the_suite_passes_but_for_what_is_named(version, suite):
    outcomes, output = run(suite)
    failed = {name for name, has_passed in outcomes.items() if not has_passed}
    assert failed == set(EXCEPTIONS.get(version, ())), output
    assert len(outcomes) == SUITES[version]


def test_a_test_that_fails_is_noticed(tmp_path):
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_it.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "def test_not_run(): pytest.skip()\n")
    outcomes, _ = run(tmp_path)
    assert outcomes == {
        "tests.test_it::test_good": True, "tests.test_it::test_bad": False,
        "tests.test_it::test_not_run": False}


def test_another_library_is_noticed(tmp_path):
    with pytest.raises(AssertionError, match="another library"):
        run(tmp_path, package=tmp_path)
