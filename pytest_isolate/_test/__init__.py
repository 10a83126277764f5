"""One isolated test, from pytest's side."""
