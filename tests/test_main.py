"""The command line: mistakes end in one line that says what to do."""

import ast
import re
import sys
from pathlib import Path

import pytest

from leo_core.__main__ import main

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "arguments",
    [
        ["render-humans", "--assets", "absent", "--out", "out"],  # FileNotFoundError
        ["export-animator", "absent", "out.safetensors"],  # ValueError
    ],
)
def test_a_mistake_is_one_line_on_stderr(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith("error: ") and "absent" in output.err
    assert output.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["adapt", "model.safetensors", "absent/new.safetensors", "clip.mp4"],
        ["adapt", "model.safetensors", "new.bin", "clip.mp4"],
        ["adapt", "model.safetensors", "new.safetensors", "clip.mp4", "--sheet", "absent/sheet.png"],
        ["convert", "model.pt", "absent/new.safetensors"],
        ["export-animator", "run", "."],
        ["evaluate", "model.safetensors", "--data", "clips", "--sheet", "sheet.txt"],
        ["evaluate", "model.safetensors", "--data", "clips", "--json", "absent/figures.json"],
        ["evaluate-prior", "prior", "--data", "clips", "--hold-out", "a", "--report", "absent/figures.json"],
        ["evaluate-landmarks", "folder", "--json", "absent/figures.json"],
        ["directions", "model.safetensors", "photo.png", "--sheet", "absent/sheet.png"],
        ["train-finder", "absent/finder.safetensors", "--photos", "photos", "--landmarks", "landmarks.npz"],
        ["portraits-sheet", "--photos", "photos", "--landmarks", "landmarks.npz", "--out", "absent/sheet.png"],
        ["humans-sheet", "--assets", "assets", "--out", "absent/sheet.png"],
    ],
    ids=" ".join,
)
def test_a_file_that_cannot_be_written_at_the_end_is_refused_at_the_beginning(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(arguments)
    told = capsys.readouterr().err
    assert re.search("no folder 'absent'|has to end in|is a folder", told), told


def test_a_command_whose_package_is_missing_is_refused_with_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "leo_core.training.train_animator", raising=False)
    with pytest.raises(SystemExit) as refused:
        main(["train-animator", "run", "--data", "folder"])
    assert refused.value.code == 2
    told = capsys.readouterr().err
    assert "training.train_animator (cv2)" in told
    assert f'"{sys.executable}" -m pip install -e "{ROOT}[train]"' in told
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "cv2" in capsys.readouterr().out


def test_the_train_extra_has_every_package_that_leo_core_imports():
    imported = set()
    for path in (ROOT / "leo_core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                # torch's own module needs a package that torch does not bring
                imported |= {
                    node.module.partition(".")[0],
                    *(["tensorboard"] if node.module == "torch.utils.tensorboard" else []),
                }
    # an extra of its own: one command needs it, and it wants Python 3.11
    imported -= {"mediapipe"}
    wanted = {
        {"cv2": "opencv-python-headless", "PIL": "pillow"}.get(name, name)
        for name in imported - sys.stdlib_module_names
    }
    extra = re.search(
        r"^train = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )[1]
    assert wanted == set(re.findall(r'"([\w-]+)', extra))
