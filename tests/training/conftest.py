def pytest_collection_modifyitems(config, items):
    """Tests that render people are left out, not skipped, without the assets: a clone without them is complete."""
    if not config.getoption("--humans"):
        items[:] = [item for item in items if "library" not in getattr(item, "fixturenames", ())]
