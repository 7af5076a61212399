"""The pack loads into a real ComfyUI, and a prompt runs."""

import pytest
from comfy_server import ExecutionError

PICTURE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 16, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "smoke"}},
}


def test_every_node_of_the_pack_is_served_and_nothing_else_of_it(server, pack):
    assert "IMPORT FAILED" not in server.log_text()
    served = {name: node for name, node in server.object_info().items() if node["python_module"] == "custom_nodes.leo"}
    assert set(served) == set(pack)
    assert all(name.startswith("LEO") and node["category"].startswith("LEO/") for name, node in served.items())


def test_loading_the_pack_warns_of_nothing(server):
    assert not [line for line in server.log_text().splitlines() if "WARNING" in line and "custom_nodes/leo" in line]


def test_a_prompt_runs_and_says_so(server):
    with server.events() as events:
        (picture,) = server.files(server.run(PICTURE))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "execution_success" in [kind for kind, _ in events]


def test_a_refused_prompt_names_the_node(server):
    wrong = {**PICTURE, "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "smoke"}}}
    with pytest.raises(ExecutionError, match="node 2 SaveImage: Required input is missing: images"):
        server.run(wrong)


def test_a_failing_node_is_named_with_its_message(server):
    wrong = {
        "1": {"class_type": "RegexReplace", "inputs": {"string": "a", "regex_pattern": "(", "replace": "b"}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    with pytest.raises(ExecutionError, match=r"^node 1 RegexReplace: .*unterminated subpattern"):
        server.run(wrong)
