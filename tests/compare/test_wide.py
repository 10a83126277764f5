"""Shared fixtures: once, in pytest, at plain's moments, and what they say and break is said in the
test and phase where plain says it.
"""

from __future__ import annotations

import pytest
from comparing import case

pytestmark = pytest.mark.old

TABLE = [
    case("said",
         "What they print, log and warn of is in the test and phase where they are set up and torn down", "wide",
         "-v -rA -o junit_logging=all said",
         says=("^by its descriptor: set up always", "UserWarning: warned finalize package",
               "logged set up module", "in teardown_class"),
         files=("said/events.log",)),
    case("said-show", "the same with --setup-show", "wide", "--setup-show said",
         says="SETUP    S always", late=True,
         files=("said/events.log",)),
    case("said-s", "the same with -s", "wide", "-s -v said", says="^set up always", late=True,
         files=("said/events.log",)),
    case("said-live", "the same with live logs", "wide", "-o log_cli=true said",
         says="live log setup", late=True,
         files=("said/events.log",)),
    case("said-error", "their warnings as errors", "wide", "-v -W error said",
         says="UserWarning: warned set up always",
         files=("said/events.log",)),
    case("said-log-file", "their records in a log file", "wide", "--log-file=run.log said",
         says="logged set up always",
         files=("run.log",)),
    case("fails",
         "Shared fixtures that fail, skip or fail late: once set up, an error in each test that uses them", "wide", "-v -rA fails",
         says=("ConnectionError: no database", "SKIPPED .*no database here",
               "XFAIL .*known to be broken", "ScopeMismatch",
               "fixture function has more than one 'yield'", "OSError: late"), files=("fails/events.log",)),
    case("fails-x", "the same when the first ends the run", "wide", "-x fails",
         says="stopping after 2", files=("fails/events.log",)),
    case("order",
         "How often and when: parameters, scopes by name, overriding, factories, asked for in teardown", "wide", "-v order",
         says=(r"test_both\[1-a\]", "test_indirect_both.known. XFAIL"), files=("order/events.log",), status=0),
    case("order-scope", "the same where the command line widens a scope", "wide", "-vvv order",
         says="test_five",
         files=("order/events.log",), status=0),
    case("order-back", "the same in another order of files", "wide",
         "-v order/inner order/test_order.py", says="test_five",
         files=("order/events.log",), status=0),
    case("order-some", "the same for a selection", "wide", "-v order -k 'indirect or three'",
         says="test_indirect",
         files=("order/events.log",), status=0),
    case("order-plan", "--setup-plan", "wide", "--setup-plan order", says="SETUP    S one.1.",
         status=0),
    case("dynamic",
         "Asked for by getfixturevalue, in set-up, call and teardown: set up once, and there for all behind", "wide",
         "-v -rA dynamic", says=("^set up six", "test_later.four. FAILED"),
         files=("dynamic/events.log",),
         in_flight="with jobs they are set up inside"),
    case("state",
         "What they did to the process is there for the tests behind, until they are torn down",
         "wide",
         "-v -rA state/test_state.py", says=("^1 somebody 7", "^elsewhere0", "^handled")),
    case("state-told", "What they say past the capture, to the terminal", "wide",
         "-v -rA state/test_state_told.py",
         says=("^told to the terminal", "^told again"), late=True, status=0),
    case("durations", "Whose time it is that they take", "wide", "durations",
         says=("test_first setup: True, True", "test_before setup: False, False", "test_last teardown: True, True"), status=0),
]  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_shared_fixtures_are_those_of_a_plain_run(same, case):
    """Terminal, JUnit file and the moments that fixtures wrote down do not differ."""
    same(case)
