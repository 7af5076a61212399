"""The module map of CONTRIBUTING.md, from the imports of the source: `python3 scripts/dev.py modules`."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
BETWEEN = re.compile(r"(<!-- modules:.*?-->\n).*?(<!-- /modules -->)", re.DOTALL)


def part(path: Path) -> str:
    """The box of the map that a file is in: its package, or for files directly in leo_core the file."""
    names = path.relative_to(ROOT).with_suffix("").parts
    if names[0] == "nodes":
        return "nodes/support" if names[1] == "support" else "nodes"
    return "leo_core/" + names[1] if names[1:] else "leo_core"


def imports(path: Path) -> set[str]:
    """The boxes that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = path.parents[node.level - 1]
        base = folder.joinpath(*node.module.split(".")) if node.module else folder
        for alias in node.names:
            inside = base / alias.name  # a module, or a name in one
            for candidate in (
                inside.with_suffix(".py"),
                inside / "__init__.py",
                base.with_suffix(".py"),
                base / "__init__.py",
            ):
                if candidate.is_file():
                    found.add(part(candidate))
                    break
    return found - {part(path)}


def module_map() -> str:
    """A Mermaid graph, one box per package, arrows to what it imports; what follows from others is left out."""
    edges: dict[str, set[str]] = {}
    for folder in ("leo_core", "nodes"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name not in ("__init__.py", "__main__.py") or path.parent.parent != ROOT:
                edges.setdefault(part(path), set()).update(imports(path))

    def reachable(start: str) -> set[str]:
        return edges.get(start, set()).union(*(reachable(other) for other in edges.get(start, set())))

    lines = ["```mermaid", "graph TD"]
    for source, targets in sorted(edges.items()):
        indirect = set().union(*(reachable(target) for target in targets))
        lines += [
            f"    {source.replace('/', '_')}[{source}] --> {target.replace('/', '_')}[{target}]"
            for target in sorted(targets - indirect)
        ]
    return "\n".join([*lines, "```", ""])


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BETWEEN.sub(lambda found: found[1] + module_map() + found[2], page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
