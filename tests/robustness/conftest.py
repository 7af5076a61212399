"""Good files to begin from, and the judge of what reading a bad one comes to."""
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # hostile.py


@pytest.fixture(scope="session")
def judge(tmp_path_factory):
    """judge(reader, good, files): what reading each of (name, bytes) comes to, by name; see limited.py."""
    def judge(reader: str, good: Path, files: Iterable[tuple[str, bytes]]) -> dict[str, dict]:
        folder = tmp_path_factory.mktemp(reader)
        names = []
        for name, content in files:
            (folder / name).write_bytes(content)
            names.append(name)
        assert len(set(names)) == len(names)
        command = [sys.executable, str(Path(__file__).with_name("limited.py")), reader, str(good)]
        run = subprocess.run(command, input="\n".join(str(folder / name) for name in names), capture_output=True, text=True, cwd=folder, check=True)
        results = dict(zip(names, map(json.loads, run.stdout.splitlines()), strict=True))
        assert not (folder / "executed").exists()
        return results
    return judge
