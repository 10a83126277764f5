"""A test's own network of several hosts: made by its process before the test's code, changed while
the test runs.
"""
