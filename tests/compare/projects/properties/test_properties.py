import pytest


def test_suite(record_testsuite_property): record_testsuite_property("suite", "from a test"); record_testsuite_property("number", 3)
@pytest.fixture(scope="session")
def wide(record_testsuite_property): record_testsuite_property("wide", "from a fixture")
def test_wide(wide): pass
def test_attribute(record_xml_attribute): record_xml_attribute("assertions", 7); record_xml_attribute("classname", "renamed")
def test_attribute_fails(record_xml_attribute): record_xml_attribute("key", "value"); assert 0
