"""The real frontend in a headless Chromium, on the server that all tests share (fixture `frontend`: a fresh page each)."""
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def chromium_page(server):
    from frontend import Frontend

    with Frontend(server) as page:
        yield page


@pytest.fixture
def frontend(chromium_page):
    chromium_page.open()
    return chromium_page
