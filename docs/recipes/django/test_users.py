import json
import urllib.request

import pytest
from django.contrib.auth.models import User


@pytest.mark.django_db
def test_a_row_of_this_test(client):
    User.objects.create(username="ada")
    assert client.get("/users").json() == {"users": ["ada"]}


@pytest.mark.django_db
def test_is_not_there_in_the_next(client):
    assert client.get("/users").json() == {"users": []}


def test_the_live_server(live_server):
    User.objects.create(username="grace")
    with urllib.request.urlopen(f"{live_server}/users") as answer:
        assert json.load(answer) == {"users": ["grace"]}
