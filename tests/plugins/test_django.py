"""pytest-django on an SQLite database."""

from __future__ import annotations

import pytest

FILES = {
    "pytest.ini": "[pytest]\nDJANGO_SETTINGS_MODULE = site_settings\npythonpath = .\n",
    "site_settings.py": (
        """
        import os
        SECRET_KEY = "none"
        USE_TZ = True
        STATIC_URL = "static/"
        ALLOWED_HOSTS = ["*"]
        INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
        name = os.environ.get("DATABASE", ":memory:")
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "TEST": {"NAME": name}}}
        ROOT_URLCONF = "urls"
        """
    ),
    "urls.py": (
        """
        from django.contrib.auth.models import User
        from django.http import HttpResponse
        from django.urls import path

        def names(request):
            return HttpResponse(" ".join(User.objects.values_list("username", flat=True)))

        urlpatterns = [path("", lambda request: HttpResponse("hello")), path("names", names)]
        """
    ),
    "test_site.py": (
        """
        import pytest
        from django.contrib.auth.models import User
        from django.test import LiveServerTestCase, TestCase

        @pytest.mark.django_db
        def test_creates(): User.objects.create(username="somebody"); assert User.objects.count() == 1
        @pytest.mark.django_db
        def test_sees_nothing_of_it(): assert User.objects.count() == 0
        @pytest.mark.django_db(transaction=True)
        def test_commits(): User.objects.create(username="other"); assert User.objects.count() == 1
        @pytest.mark.django_db
        def test_is_clean_again(): assert User.objects.count() == 0
        def test_may_not(): User.objects.count()
        def test_page(client): assert client.get("/").content == b"hello"
        def test_user(admin_user, django_assert_num_queries):
            with django_assert_num_queries(1): assert User.objects.count() == 1
        def test_settings(settings): settings.USE_TZ = False
        def test_mail(mailoutbox):
            from django.core import mail
            mail.send_mail("a", "b", "c@localhost", ["d@localhost"])
            assert len(mailoutbox) == 1
        def test_server(live_server):
            from urllib.request import urlopen
            assert urlopen(live_server.url, timeout=30).read() == b"hello"
        @pytest.mark.parametrize("name", ["ada", "grace"])
        def test_server_sees_the_tests_rows_alone(live_server, name):
            from urllib.request import urlopen
            User.objects.create(username=name)
            assert urlopen(f"{live_server}/names", timeout=30).read().decode() == name
        class TestLive(LiveServerTestCase):
            def test_one(self): self.sees("one")
            def test_two(self): self.sees("two")
            def sees(self, name):
                from urllib.request import urlopen
                User.objects.create(username=name)
                with urlopen(f"{self.live_server_url}/names", timeout=30) as answer:
                    assert answer.read().decode() == name
        class TestInClass(TestCase):
            @classmethod
            def setUpTestData(cls): cls.user = User.objects.create(username="shared")
            def test_one(self): User.objects.create(username="one"); assert User.objects.count() == 2
            def test_two(self): assert User.objects.count() == 1
        """
    ),
}


@pytest.mark.plugins(pytest_django="django", Django=None)
@pytest.mark.parametrize("database", [":memory:", "test.sqlite3"], ids=["memory", "file"])
def test_django_tests(both, database):
    """`django_db` with and without transactions, `client`, `admin_user`, `settings`, `mailoutbox`,
    `TestCase`, `live_server` and `LiveServerTestCase` with rows that the test has written.
    """
    both(FILES, tests=16, env={"DATABASE": database})
