"""What people see of the nodes and what saved workflows know them by: ids, order, texts, help, translations."""

import ast
import functools
import inspect
import json
import re
from pathlib import Path

import node_schema
import pytest

ROOT = Path(__file__).resolve().parents[2]
HELP = ROOT / "web" / "docs"
# Together; whoever installs the pack downloads them.
LARGEST_HELP_PICTURES = 1_500_000


@pytest.fixture
def nodes(pack) -> dict[str, dict]:
    """What /object_info says of every node of the pack."""
    return {node_id: node.GET_NODE_INFO_V1() for node_id, node in pack.items()}


def english(nodes: dict) -> dict:
    return json.loads(json.dumps(node_schema.english(nodes)))


def test_no_id_input_output_or_category_changed(nodes):
    """A change on purpose is recorded with `python3 scripts/dev.py schema`."""
    recorded = json.loads(node_schema.SNAPSHOT.read_text())
    assert node_schema.snapshot(nodes) == recorded


def test_every_node_says_what_it_does_and_is_found_by_other_words(nodes):
    for node_id, info in nodes.items():
        assert info["display_name"].startswith("LEO "), node_id
        assert info["description"].endswith("."), node_id
        assert len(info["search_aliases"]) >= 3, node_id


def test_every_input_with_a_default_can_be_left_out(pack, nodes):
    """By a prompt through the API, and then means its default."""
    for node_id, node in pack.items():
        taken = inspect.signature(node.execute).parameters
        required = {name for name, *_ in node_schema.inputs(nodes[node_id], "required")}
        for port in node.GET_SCHEMA().inputs:
            said = port.as_dict()
            if (default := said.get("default")) is not None and not said.get("forceInput"):
                assert port.id not in required, (node_id, port.id)
                if port.id in taken:
                    assert taken[port.id].default == default, (node_id, port.id)
                else:  # one of many alike, which count as 0
                    assert default == 0 and taken["amounts"].kind == inspect.Parameter.VAR_KEYWORD, (node_id, port.id)


def test_a_bypassed_node_hands_on_what_it_works_on(pack):
    """ComfyUI takes the first input of the output's type: not the pose of a picture in place of a motion."""
    for node_id, handed_on in (
        ("LEOTransferMotion", "driving"),
        ("LEOLMDMSampler", "motion"),
        ("LEOBlendMotion", "first"),
        ("LEOPasteBack", "images"),
        ("LEOCropSubject", "image"),
        ("LEOSelectDirections", "motion"),
        ("LEORenderVideo", "video"),
        ("LEOEditFlow", "flow"),
    ):
        schema = pack[node_id].GET_SCHEMA()
        assert next(port.id for port in schema.inputs if port.io_type == schema.outputs[0].io_type) == handed_on


def test_every_input_and_output_has_a_tooltip_of_one_sentence(nodes):
    for node_id, info in nodes.items():
        texts = {name: options.get("tooltip") for name, _, options in node_schema.all_inputs(info)}
        texts |= dict(zip(info["output_name"], info["output_tooltips"], strict=True))
        bad = {
            name: text
            for name, text in texts.items()
            if not text or not text.endswith(".") or re.search(r"[.!?] [A-Z]", text)
        }
        assert not bad, node_id


def test_every_node_has_a_help_page_that_names_all_its_inputs_and_outputs(nodes):
    assert {path.stem for path in HELP.glob("*.md")} == set(nodes)
    for node_id, info in nodes.items():
        page = (HELP / f"{node_id}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {info['display_name']}\n"), node_id
        rows = re.findall(r"^\| `(\w+)` \| .+ \|$", page, re.MULTILINE)
        expected = [name.split(".")[-1] for name, _, _ in node_schema.all_inputs(info)] + info["output_name"]
        assert sorted(rows) == sorted(expected), node_id


def test_the_pictures_of_the_help_pages_are_there_and_small():
    """One that is missing is made with `python3 scripts/dev.py figures <NodeId>`."""
    shown = {
        name
        for path in HELP.glob("*.md")
        for name in re.findall(r"!\[[^]]+\]\(([^)]+)\)", path.read_text(encoding="utf-8"))
    }
    there = {path.name for path in HELP.iterdir() if path.suffix != ".md"}
    assert shown == there
    assert {path.stem for path in HELP.glob("*.md")} == {Path(name).stem for name in shown}
    assert sum((HELP / name).stat().st_size for name in there) < LARGEST_HELP_PICTURES


def test_every_tooltip_is_there_in_chinese(nodes):
    chinese = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
    for node_id, texts in english(nodes).items():
        for side in ("inputs", "outputs"):
            for port in texts.get(side, {}):
                text = chinese[node_id][side][port].get("tooltip", "")
                assert re.search(r"[\u4e00-\u9fff]", text), f"{node_id}: {port}"


def test_every_node_is_used_by_a_workflow_or_the_blueprint(nodes):
    """Described in scripts/workflows/, written by `python3 scripts/dev.py author`; and by `dev.py blueprint`."""
    graphs = [
        json.loads(path.read_text(encoding="utf-8"))
        for folder in ("workflows", "subgraphs")
        for path in (ROOT / folder).glob("*.json")
    ]
    inside = [part for graph in graphs for part in graph.get("definitions", {}).get("subgraphs", [])]
    used = {node["type"] for graph in [*graphs, *inside] for node in graph["nodes"]}
    assert set(nodes) - used == set()


@functools.cache
def error_patterns() -> list[str]:
    """Every message that the pack raises, as a regular expression with .+ in place of what is filled in."""
    patterns = []
    for path in [*(ROOT / "leo_core").rglob("*.py"), *(ROOT / "nodes").rglob("*.py")]:
        for found in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            made = (
                found.exc if isinstance(found, ast.Raise) else found.value if isinstance(found, ast.Return) else None
            )  # some for others to raise
            if isinstance(made, ast.Call) and made.args:
                pattern = as_pattern(made.args[0])
                if len(pattern.replace(".+", "")) > 20:
                    patterns.append(pattern)
    return patterns


def as_pattern(message: ast.expr) -> str:
    if isinstance(message, ast.Constant):
        return re.escape(str(message.value))
    if isinstance(message, ast.JoinedStr):
        return "".join(as_pattern(part) for part in message.values)
    if isinstance(message, ast.BinOp):
        return as_pattern(message.left) + as_pattern(message.right)
    return ".+"


@pytest.mark.parametrize("page", [*sorted(HELP.glob("*.md")), ROOT / "README.md"], ids=lambda path: path.stem)
def test_the_errors_that_it_quotes_are_those_that_are_raised(page):
    patterns = error_patterns()
    for quoted in re.findall(r"^> (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert any(re.fullmatch(pattern, quoted) for pattern in patterns), quoted


def test_the_english_locale_is_what_the_nodes_say(nodes):
    """Written by `python3 scripts/dev.py schema`."""
    assert json.loads((node_schema.LOCALES / "en" / "nodeDefs.json").read_text(encoding="utf-8")) == english(nodes)


def test_the_list_for_comfyui_manager_has_every_node(nodes):
    assert json.loads(node_schema.NODE_LIST.read_text(encoding="utf-8")) == node_schema.node_list(nodes)


@pytest.mark.parametrize("language", sorted(path.name for path in node_schema.LOCALES.iterdir() if path.name != "en"))
def test_a_translation_has_every_node_input_and_output_by_name(nodes, language):
    def names(texts: dict) -> dict:
        return {node_id: (set(node["inputs"]), set(node["outputs"])) for node_id, node in texts.items()}

    translated = json.loads((node_schema.LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))
    assert names(translated) == names(english(nodes))
    for node_id, node in translated.items():
        named = [node, *node["inputs"].values(), *node["outputs"].values()]
        assert all(text.strip() for text in (node["display_name"], node["description"])), node_id
        assert all(part["name"].strip() for part in named[1:]), node_id
