"""The object behind ``--junitxml``, for what travels in no report."""

from __future__ import annotations

from typing import Any

import pytest

Pairs = list[tuple[str, str]]


def said(item: pytest.Item, before: int) -> tuple[Pairs, Pairs]:
    """In the child: what ``record_testsuite_property`` said behind the first ``before`` ones, and
    ``record_xml_attribute`` of this item.

    Both write straight into the object behind ``--junitxml``, which has no public name; everything
    else of it travels in reports.
    """
    xml = _writer(item.config)
    if xml is None:
        return [], []
    mine = [reporter for key, reporter in xml.node_reporters.items() if str(key[0]) == item.nodeid]
    return xml.global_properties[before:], [
        pair for reporter in mine for pair in reporter.attrs.items()
    ]


def say_again(item: pytest.Item, properties: Pairs, attributes: Pairs) -> None:
    """In the parent: say them again."""
    xml = _writer(item.config)
    for name, value in properties if xml is not None else ():
        xml.add_global_property(name, value)
    for name, value in attributes if xml is not None else ():
        xml.node_reporter(item.nodeid).add_attribute(name, value)


def count_properties(config: pytest.Config) -> int:
    """How many properties of the whole suite there are so far."""
    xml = _writer(config)
    return 0 if xml is None else len(xml.global_properties)


def _writer(config: pytest.Config) -> Any:  # noqa: ANN401 - of a class that cannot be named
    if not getattr(config.option, "xmlpath", None):
        return None
    return next(
        (
            plugin
            for plugin in config.pluginmanager.get_plugins()
            if type(plugin).__name__ == "LogXML"
        ),
        None,
    )
