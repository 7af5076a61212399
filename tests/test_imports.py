"""Imports point one way: nodes and training use the model, the model uses neither, and nobody uses the scripts."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [path for folder in ("leo_core", "nodes") for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """Dotted names, relative to the repository, of what a file imports anywhere in it; of a ``from`` import, both
    the module and the module with each name, which may be a module too."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def offences(sources: list[Path], *forbidden: str) -> list[str]:
    """``file: import`` of everything that sources import from the forbidden packages."""
    return [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources
        for name in imported(path)
        if any(name == package or name.startswith(package + ".") for package in forbidden)
    ]


def within(*folder: str) -> list[Path]:
    return [path for path in SOURCES if path.relative_to(ROOT).parts[: len(folder)] == folder]


def test_the_model_imports_neither_its_training_nor_the_nodes_nor_comfyui():
    model = [
        path for path in within("leo_core") if path not in within("leo_core", "training") and path.name != "__main__.py"
    ]
    assert len(model) > 20
    assert not offences(model, "leo_core.training", "nodes", "comfy", "comfy_api", "folder_paths", "server", "scripts")


def test_training_imports_neither_nodes_nor_comfyui_nor_scripts():
    assert not offences(
        within("leo_core", "training"), "nodes", "comfy", "comfy_api", "folder_paths", "server", "scripts"
    )


def test_nodes_do_not_import_what_only_training_has():
    assert not offences(
        within("nodes"), "leo_core.training", "scripts", "accelerate", "cv2", "matplotlib", "tqdm", "tensorboard"
    )


def test_no_node_file_imports_another():
    files = [path for path in within("nodes") if path.parent.name == "nodes" and path.name != "__init__.py"]
    assert len(files) > 5
    assert not offences(files, *(f"nodes.{path.stem}" for path in files))
    assert not offences(within("nodes", "support"), *(f"nodes.{path.stem}" for path in files))


def test_imports_within_the_pack_are_relative():
    """ComfyUI loads the pack under a name of its own."""
    absolute = [
        (str(path.relative_to(ROOT)), node.module)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and not node.level
        and node.module.partition(".")[0] in ("leo_core", "nodes")
    ]
    assert not absolute


def test_packages_of_the_model_do_not_import_each_other_in_circles():
    """Package or file of leo_core -> those that it imports; none leads back to itself."""

    def part(name: str) -> str:
        return ".".join(name.split(".")[:2])

    arrows: dict[str, set[str]] = {}
    for path in within("leo_core"):
        if path.name != "__main__.py":
            own = part(".".join(path.relative_to(ROOT).with_suffix("").parts))
            names = {part(name) for name in imported(path) if name.startswith("leo_core.")}
            arrows.setdefault(own, set()).update(names - {own})
    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        for name in leaves:
            del arrows[name]
    assert not arrows
