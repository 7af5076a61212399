def pytest_addoption(parser):
    parser.addoption("--humans", help="folder of MakeHuman's CC0 assets; adds the tests that render people")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--humans", default=None) is None:
        items[:] = [item for item in items if "library" not in getattr(item, "fixturenames", ())]
