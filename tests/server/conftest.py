"""Marks the tests that run prompts in a real ComfyUI (fixture `server` of the folder above)."""

from pathlib import Path


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("server")
