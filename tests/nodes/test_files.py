"""Files that nodes list, load and save: what makes them run again, what is listed, where things go."""

import os
import shutil
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from leo_pack.nodes.support import files, routes

from leo_core.identity import AnimatorId
from leo_core.motion import MotionSequence, save_motion

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2024, 3, 5, 12, 7, 9)


@pytest.fixture
def models(pack, comfy_folders, animator_file) -> Path:
    folder = comfy_folders / "models" / "leo"
    folder.mkdir(parents=True)
    shutil.copy(animator_file, folder / "walker.safetensors")
    save_motion(
        folder / "nod.safetensors", MotionSequence(torch.zeros(3, 4), Fraction(25), AnimatorId("walker", "a" * 64))
    )
    shutil.copy(ROOT / "models" / "leo-face-64-prior.safetensors", folder / "prior.safetensors")
    return folder


@pytest.mark.parametrize(
    "node, name", [("LEOLoadAnimator", "walker"), ("LEOLoadMotion", "nod"), ("LEOLoadMotionPrior", "prior")]
)
def test_a_loader_runs_again_when_its_file_changed_and_only_then(pack, models, node, name):
    """Also where the name comes over a link, of which ComfyUI tells a fingerprint nothing but None."""
    for given in (f"{name}.safetensors", None):
        before = pack[node].fingerprint_inputs(given)
        assert pack[node].fingerprint_inputs(given) == before
        changed = models / f"{name}.safetensors"
        os.utime(changed, ns=(0, os.stat(changed).st_mtime_ns + 10**6))
        assert pack[node].fingerprint_inputs(given) != before


def test_links_to_nowhere_are_not_listed(pack, models):
    (models / "aaa.safetensors").symlink_to(models / "gone.safetensors")
    (models / "aab.pt").symlink_to(models / "gone.pt")
    assert not {"aaa.safetensors", "aab.pt"} & {
        name for kind in ("animator", "motion", "motion_prior") for name in files.list_files(kind)
    }


@pytest.mark.parametrize("prefix", ["", ".", "leo/.hidden", ".hidden"])
def test_a_prefix_that_would_hide_the_file_is_refused(pack, prefix):
    with pytest.raises(ValueError, match="not empty"):
        files.place_in_output(prefix)


def test_tokens_of_a_prefix_are_those_of_save_video():
    prompt = {
        "4": {
            "class_type": "LEOLMDMSampler",
            "_meta": {"title": "My sampler"},
            "inputs": {"seed": 7, "prior": ["1", 0], "sampler": "a/b"},
        }
    }
    for prefix, expected in (
        ("leo/%date:yyyy-MM-dd%/x", "leo/2024-03-05/x"),
        ("%date:yy_M_d hhmmss%", "24_3_5 120709"),
        ("%LEOLMDMSampler.seed%", "7"),
        ("%My sampler.sampler%", "a_b"),
        ("%unknown% 100%", "%unknown% 100%"),
    ):
        assert files.with_tokens(prefix, prompt, NOON) == expected


def test_a_second_copy_of_the_pack_is_named_and_the_server_starts(monkeypatch, caplog):
    from aiohttp import web

    class Server:
        routes = web.RouteTableDef()

    monkeypatch.setattr(routes.PromptServer, "instance", Server, raising=False)
    routes.register_routes()
    routes.register_routes()
    web.Application().add_routes(Server.routes)
    assert [route.path for route in Server.routes] == ["/leo/directions", "/leo/preview"]
    assert "LEO is installed twice" in caplog.text and caplog.text.count(str(ROOT)) == 2
