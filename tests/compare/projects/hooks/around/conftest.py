"""What runs around a test, prints to the terminal, and makes something that lasts as long as the test."""

import os

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    print(f"\nbefore {item.name}, next is {nextitem and nextitem.name}")
    os.environ["AROUND"] = item.name
    try:
        return (yield)
    finally:
        print(f"\nafter {item.name} in {os.environ.pop('AROUND')}")
@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    print("call begins in", os.environ["AROUND"])
    try:
        return (yield)
    finally:
        print("call is over")
@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    os.environ["AROUND_SETUP"] = item.name
    print("set-up begins")
    try:
        return (yield)
    finally:
        print("set-up is over, with", sorted(item.funcargs))
        del os.environ["AROUND_SETUP"]
@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    print("teardown begins, with", sorted(item.funcargs), "next is", nextitem and nextitem.name)
    try:
        return (yield)
    finally:
        print("teardown is over")
