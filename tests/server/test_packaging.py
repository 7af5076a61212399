"""The archive that users get: complete without what only developers need, and at home in a folder of any name."""

import json
import sys
import zipfile
from pathlib import Path

import av

ROOT = Path(__file__).resolve().parents[2]


def test_the_archive_leaves_tests_scripts_and_documentation_media_out(archive):
    names = zipfile.ZipFile(archive).namelist()
    assert {name.split("/")[0] for name in names} >= {
        "__init__.py",
        "nodes",
        "leo_core",
        "web",
        "workflows",
        "models",
        "samples",
        "locales",
    }
    assert {f"web/docs/{name}" for name in ("LEOEncoder.md", "LEOEncoder.webp")} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "scripts/", "docs/", ".ci/", ".dev/"))]
    assert archive.stat().st_size < 30 * 2**20


def test_comfyui_reads_the_configuration_whole():
    sys.path.append(str(ROOT / ".dev" / "ComfyUI"))
    from comfy_config.config_parser import extract_node_configuration

    config = extract_node_configuration(str(ROOT))
    assert config.project.name == "leo" and config.project.version.count(".") == 2
    assert (
        config.project.supported_os == ["OS Independent"] and len(config.project.supported_accelerators) == 3
    )  # [] when one is unknown
    assert config.project.supported_comfyui_version == ">=0.30.0"
    assert config.tool_comfy.publisher_id and config.tool_comfy.display_name == "LEO"
    assert (ROOT / config.project.license.file).is_file()
    assert f"## {config.project.version}" in (ROOT / "CHANGELOG.md").read_text()


def test_a_clean_comfyui_with_the_archive_runs_a_workflow(installed, pack):
    (folder,) = (path.name for path in (installed.base / "custom_nodes").iterdir())
    served = {
        name for name, node in installed.object_info().items() if node["python_module"] == f"custom_nodes.{folder}"
    }
    assert served == set(pack) and "IMPORT FAILED" not in installed.log_text()
    prompt = json.loads((ROOT / "scripts" / "demo_prompt.json").read_text())
    (film,) = (path for path in installed.files(installed.run(prompt)) if path.suffix == ".mp4")
    with av.open(str(film)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 96


def test_texts_workflows_and_the_blueprint_are_offered_under_the_folders_name(installed):
    """Files of web/ are not asked for: ComfyUI serves none from a folder with a space in its name, whosever pack it
    is."""
    (offered,) = installed.get_json("/workflow_templates").values()
    assert "LEO - Animate a person with a driving video" in offered
    assert installed.get_json("/i18n")["zh"]["nodeDefs"]["LEOEncoder"]["display_name"].startswith("LEO")
    assert "LEO" in [entry["name"] for entry in installed.get_json("/global_subgraphs").values()]
