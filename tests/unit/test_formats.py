"""The registry of reports that are written into files."""

import pytest

from pytest_isolate._config.options import REPORTING
from pytest_isolate._config.settings import SETTINGS
from pytest_isolate._report.formats import FORMATS, Told, option_name


@pytest.mark.parametrize("kind", FORMATS, ids=option_name)
def test_every_format_has_its_option(kind):
    """A path, which is refused at the start of a run if it cannot be written."""
    (setting,) = [each for each in SETTINGS if each.option == kind.option]
    assert setting.name == option_name(kind)
    assert setting.is_path
    assert setting.name in REPORTING


@pytest.mark.parametrize("kind", FORMATS, ids=option_name)
def test_a_report_of_a_run_without_tests_is_one(kind):
    """Who reads it finds a whole document."""
    pytest.importorskip("jinja2")
    pytest.importorskip("bokeh")
    assert kind.text(Told({}, [], dict)).strip()[0] in "{<"
