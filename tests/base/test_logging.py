"""The logger of the library, which loads the module logging late."""

import subprocess
import sys

import pytest

SWALLOW = (
    "from dbutils._base.errors import log_swallowed, logger;"
    "log_swallowed('a step', ValueError());")
SHOW = (
    "import logging; logging.basicConfig("
    "format='%(name)s %(levelname)s %(funcName)s %(message)s',"
    "level='DEBUG');")
SHOWN = "dbutils DEBUG log_swallowed a step failed with ValueError\n"
IS_LOADED = "import sys; print('logging' in sys.modules)"


def run(program):
    """Run a program; return what it prints and what it logs."""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, timeout=60, text=True,
        capture_output=True)
    return done.stdout, done.stderr


def test_nothing_is_loaded_to_log_what_nobody_reads():
    assert run(SWALLOW + "logger.info('told');" + IS_LOADED) == ("False\n", "")


@pytest.mark.parametrize("program", [
    SHOW + SWALLOW, SWALLOW + SHOW + SWALLOW,
    SHOW + SWALLOW + "logging.disable();" + SWALLOW])
def test_a_program_that_has_loaded_logging_gets_the_records(program):
    assert run(program) == ("", SHOWN)


def test_a_module_that_is_being_loaded_by_another_thread_is_not_used():
    program = (
        "import sys; sys.modules['logging'] = type(sys)('logging');"
        + SWALLOW + "del sys.modules['logging'];" + SHOW + SWALLOW)
    assert run(program) == ("", SHOWN)


def test_a_warning_is_shown_also_where_nobody_has_loaded_logging():
    assert run(SWALLOW + "logger.warning('%s', 'beware')") == ("", "beware\n")


def test_the_logger_can_be_changed_by_its_name():
    program = SHOW + (
        "logging.getLogger('dbutils').setLevel('INFO');" + SWALLOW
        + "logger.info('told')")
    assert run(program) == ("", "dbutils INFO <module> told\n")
