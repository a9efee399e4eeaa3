"""The logger of the library, which loads the module logging late."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from everywhere import sweep

from dbutils._base import errors

SWALLOW = (
    "from dbutils._base.errors import log_swallowed, logger;"
    "log_swallowed('a step', ValueError());")
SHOW = (
    "import logging; logging.basicConfig("
    "format='%(name)s %(levelname)s %(funcName)s %(message)s',"
    "level='DEBUG');")
SHOWN = "dbutils DEBUG tell a step failed with ValueError\n"
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


@pytest.mark.parametrize("load", ["", "import logging;"])
def test_a_warning_is_only_shown_by_a_handler_of_the_program(load):
    warn = "logger.warning('%s', 'beware');"
    is_loaded = f"{bool(load)}\n"
    assert run(load + SWALLOW + warn + IS_LOADED) == (is_loaded, "")
    assert run(SHOW + "from dbutils._base.errors import logger;" + warn) == (
        "", "dbutils WARNING <module> beware\n")


def test_the_logger_has_one_handler_that_shows_nothing():
    program = "import logging;" + SWALLOW * 2 + (
        "logger.warning('beware'); logger.info('told');"
        "print(logging.getLogger('dbutils').handlers)")
    assert run(program) == ("[<NullHandler (NOTSET)>]\n", "")


def test_the_logger_can_be_changed_by_its_name():
    program = SHOW + (
        "logging.getLogger('dbutils').setLevel('INFO');" + SWALLOW
        + "logger.info('told')")
    assert run(program) == ("", "dbutils INFO <module> told\n")


def test_an_interrupt_within_a_message_silences_no_thread(monkeypatch):
    # as if all threads were the same one, since numbers are used again
    monkeypatch.setattr(
        errors, "threading", SimpleNamespace(get_ident=lambda: 1))

    def prepare():
        def work():
            errors.tell(list)

        def check():
            told = []
            errors.tell(lambda: told.append(1))
            assert told
        return work, check

    assert sweep(prepare, stride=1) > 10
