"""What is said: failures, sections, logs and warnings, in every style of the terminal."""

from __future__ import annotations

import re

import pytest
from comparing import ISOLATED, PLAIN, case

TABLE = [
    case("default", "introspection, sections and summary", "said",
         says=("Captured stdout setup", "Right contains 1 more item|'c': None")),
    case("rA", "-rA shows passing tests' sections", "said", "-rA", says="passed out"),
    case("v", "-v has whole differences", "said", "-v", says="test_list FAILED"),
    case("vv", "-vv has more of them", "said", "-vv", says="test_list FAILED"),
    case("q", "-q", "said", "-q", says="failed"),
    case("qq", "-qq", "said", "-qq", says="FAILED"),
    case("l", "-l shows local variables", "said", "-l", says="local += "),
    case("full-trace", "--full-trace shows all frames of a test below the call of it", "said",
         "--tb=short -k deep", says="in helper"),
    *(case(f"tb-{style}", f"--tb={style}", "said", f"--tb={style}",
           says="FAILED .*test_deep") for style in
      ("auto", "long", "short", "line", "native", "no")),
    *(case(f"show-{what}", f"--show-capture={what}", "said", f"--show-capture={what}",
           says="FAILED .*test_sections") for what in
      ("no", "stdout", "stderr", "log", "all")),
    case("color", "--color=yes has the same colours", "said", "--color=yes", says="\x1b\\[31m"),
    case("color-v", "--color=yes -v -rA", "said", "-v -rA --color=yes", says="\x1b\\[32mPASSED"),
    case("no-highlight", "--code-highlight=no", "said", "--color=yes --code-highlight=no -k deep",
         says="\x1b\\[31m"),
    case("sys", "--capture=sys", "said", "-rA --capture=sys", says="Captured stdout call",
         in_flight="what --capture=sys does not capture comes when it is written"),
    case("tee", "--capture=tee-sys sections", "said", "-rA --capture=tee-sys -k text",
         says="test_text"),
    case("count", "progress as a count", "said", "-o console_output_style=count",
         says=r"\[\d+/\d+\]"),
    case("classic", "no progress", "said", "-o console_output_style=classic", says="failed"),
    case("no-summary", "--no-summary --no-header", "said", "--no-summary --no-header",
         says="failed"),
    case("r-none", "-rN", "said", "-rN", says="failed"),
    case("r-some", "-rfEp", "said", "-rfEp", says="PASSED .*test_passes_talking"),
    case("log-level", "--log-level and formats", "said",
         "-rA --log-level=INFO --log-format='%(levelname)s-%(message)s'",
         says="INFO-call info"),
    case("no-logging", "-p no:logging", "said", "-p no:logging", says="Captured stdout call"),
    case("assert-plain", "--assert=plain", "said", "--assert=plain -k 'list or text'",
         says="2 failed"),
    case("truncation", "truncation limits of the ini file", "said",
         "-o truncation_limit_lines=3 -k 'list or dict'", says="2 failed"),
    case("xfail-tb", "--xfail-tb", "outcomes", "-rx --xfail-tb", says="XFAIL"),
    case("s", "-s shows output where it is written", "said", "-s -k passes_talking",
         says="passed out", status=0, late=True),
    case("s-v", "-s -v", "said", "-s -v -k 'sections or deep'", says="by the descriptor",
         late=True),
    case("live", "live logs of every phase", "live", "-o log_cli=true -o log_cli_level=INFO",
         says="live log setup", late=True),
    case("live-v", "live logs with -v", "live", "-v -o log_cli=true", says="live log call",
         late=True),
    case("live-s", "live logs with -s", "live", "-s -o log_cli=true", says="live log call",
         late=True),
    case("log-file", "--log-file has the same records", "live",
         "--log-file=run.log --log-file-level=INFO",
         says="failed", files=("run.log",)),
    case("bytes", "output that is not UTF-8, surrogates, control characters", "bytes", "-rA",
         says="raw"),
    case("bytes-s", "the same with -s, byte for byte", "bytes", "-s -v", says="raw \udcff"),
    case("bytes-sys", "the same with --capture=sys", "bytes",
         "-rA --capture=sys -k 'not raw and not descriptor'", says="surrogate"),
    case("warned", "warnings with their places, said once", "warned",
         says=("test_warned.py:12: UserWarning: wide set-up", "own"), status=1),
    case("warned-off", "--disable-warnings", "warned", "--disable-warnings", says="warnings"),
    case("warned-error", "-W error turns them into failures", "warned", "-W error", says="1 error",
         status=2),
    case("warned-ini", "filterwarnings of the ini file", "warned",
         "-o 'filterwarnings=error::FutureWarning'", says="FAILED .*test_future"),
    case("warned-error-ini", "filterwarnings = error, on a suite that does not warn", "marks",
         "-W error", says="2 failed"),
    case("warned-most", "errors of warnings in set-up, call and teardown", "warned",
         "-W error::UserWarning -W 'ignore:at import'", says="ERROR .*test_warns"),
]  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_what_is_said_is_what_a_plain_run_says(same, case):
    """Terminal, JUnit file and log files of the row's project do not differ."""
    same(case)


def test_the_parents_memory_does_not_follow_50_mb_of_output(comparison, pytester):
    """Tests that write 50 MB cost pytest less than one of them writes; plain, more.

    The section says what is left out in the middle.
    """

    def peak(how: tuple[str, ...], which: str) -> int:
        seen = comparison.run(
            case("", "", "flood", f"--show-capture=no -k {which}", says="").values[0], *how
        )
        assert (
            "=== 1 passed" in "\n".join(seen.lines)
            if which == "quiet"
            else "=== 1 failed, 1 passed" in "\n".join(seen.lines)
        )
        return int((pytester.path / "peak").read_text()) << 10

    written, flood = 50 << 20, "'flood and (passes or fails) and not letters'"
    assert peak(PLAIN, flood) - peak(PLAIN, "quiet") > written
    assert peak(ISOLATED, flood) - peak(ISOLATED, "quiet") < written


@pytest.mark.parametrize("test", ["test_fails", "test_fails_in_other_letters"])
def test_output_that_is_too_much_is_shortened_in_the_middle(comparison, test):
    """Its beginning and end are there, and the test fails by its own assertion, also in letters
    that JSON writes long.
    """
    seen = comparison.run(
        case("", "", "flood", f"test_flood.py::{test}", says="").values[0], *ISOLATED
    )
    text = "\n".join(seen.lines)
    assert "=== 1 failed" in text
    assert "AssertionError" in text or "assert 0" in text
    assert re.search(
        r"^\.\.\. \d+ characters left out by pytest-isolate \.\.\.$", text, re.MULTILINE
    )
