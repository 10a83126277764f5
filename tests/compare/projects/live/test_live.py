import logging

import pytest

LOG = logging.getLogger("live")


@pytest.fixture(scope="module")
def wide():
    LOG.warning("wide set-up")
    yield
    LOG.warning("wide teardown")
@pytest.fixture
def narrow(wide):
    LOG.warning("narrow set-up")
    yield
    LOG.warning("narrow teardown")
def test_one(narrow): LOG.warning("one"); print("printed")
def test_two(narrow): LOG.info("two"); assert 0
def test_quiet(): pass
def test_three(): LOG.error("three %d", 3)
