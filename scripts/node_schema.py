"""What people and saved workflows know the nodes by: their ids, inputs, outputs and texts.

`python3 scripts/dev.py schema` writes it anew from a running ComfyUI after a node was added or changed on purpose:
tests/data/schema.json, against which tests hold the nodes, locales/en/nodeDefs.json, from which translators start, and
node_list.json, by which ComfyUI-Manager knows whose a missing node is.
A released input is never renamed, removed or moved: workflows store widget values by position.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from environment import PACK_NAME, ROOT

SNAPSHOT = ROOT / "tests" / "data" / "schema.json"
LOCALES = ROOT / "locales"
NODE_LIST = ROOT / "node_list.json"


def inputs(info: dict, group: str) -> Iterator[tuple[str, str, dict]]:
    """(name, type, options) of every input of a group ("required" or "optional"), in order; choices that open more
    inputs are followed by those, as "choice.input".

    :param info: what /object_info says of one node.
    """
    for name in info["input_order"].get(group, []):
        kind, options = info["input"][group][name]
        yield name, kind, options
        for choice in options["options"] if kind == "COMFY_DYNAMICCOMBO_V3" else []:
            for opened in choice["inputs"].values():
                for inner, (inner_kind, inner_options) in opened.items():
                    yield f"{name}.{inner}", inner_kind, inner_options


def all_inputs(info: dict) -> list[tuple[str, str, dict]]:
    return [*inputs(info, "required"), *inputs(info, "optional")]


def snapshot(nodes: dict[str, dict]) -> dict:
    """Of every node what a saved workflow depends on.

    :param nodes: /object_info by node id.
    """
    return {
        node_id: {
            "category": info["category"],
            "required": [f"{name}: {kind}" for name, kind, _ in inputs(info, "required")],
            "optional": [f"{name}: {kind}" for name, kind, _ in inputs(info, "optional")],
            "outputs": [f"{name}: {kind}" for name, kind in zip(info["output_name"], info["output"], strict=True)],
        }
        for node_id, info in sorted(nodes.items())
    }


def english(nodes: dict[str, dict]) -> dict:
    """The texts of every node in the form of ComfyUI's nodeDefs.json, where dots in names are underscores."""
    return {
        node_id: {
            "display_name": info["display_name"],
            "description": info["description"],
            "inputs": {
                name.replace(".", "_"): {"name": name.split(".")[-1], "tooltip": options["tooltip"]}
                for name, _, options in all_inputs(info)
            },
            "outputs": {
                str(i): {"name": name, "tooltip": tooltip}
                for i, (name, tooltip) in enumerate(zip(info["output_name"], info["output_tooltips"], strict=True))
            },
        }
        for node_id, info in sorted(nodes.items())
    }


def node_list(nodes: dict[str, dict]) -> dict[str, str]:
    return {node_id: info["description"] for node_id, info in sorted(nodes.items())}


def write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path.relative_to(ROOT))


def main() -> int:
    from comfy_server import ComfyServer

    with tempfile.TemporaryDirectory() as base, ComfyServer(Path(base)) as server:
        ours = {
            name: info
            for name, info in server.object_info().items()
            if info["python_module"] == f"custom_nodes.{PACK_NAME}"
        }
    write(SNAPSHOT, snapshot(ours))
    write(LOCALES / "en" / "nodeDefs.json", english(ours))
    write(NODE_LIST, node_list(ours))
    return 0


if __name__ == "__main__":
    sys.exit(main())
