"""The documentation's site: ``tox run -e docs`` builds it, with every warning an error."""

from __future__ import annotations

import sys
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent
if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib
_METADATA = tomllib.loads((_PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _METADATA["name"]
version = release = _METADATA["version"]
author = "the pytest-isolate-ns developers"
copyright = author  # noqa: A001 - Sphinx's name for it

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "linkify"]
myst_linkify_fuzzy_links = False
myst_heading_anchors = 4
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # what programs print is in no language
#: Names of unions in signatures, and Python's own, whose documentation is not at hand.
nitpick_ignore_regex = [
    ("py:class", "Addresses|Below|Built|Duration|Interface|Share|~Given"),
    ("py:class", r"pytest_isolate\..*\.(Conditions|Counters|Result)"),
    ("py:(class|obj)", r"(collections|subprocess|os|typing)\..*"),
]
autodoc_typehints = "description"
highlight_language = "none"  # a block that names none is what a program printed
copybutton_prompt_text = "$ "
copybutton_copy_empty_lines = False

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path: list[str] = []
