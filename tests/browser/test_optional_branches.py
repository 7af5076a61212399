"""The branch of the full chain that wants a file of its own: bypassed as shipped, switched on here with an upscaler of
random weights that makes pictures four times as large."""

import av
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

TITLE = "LEO - Photo to video with crop, paste back and sound"
SWITCH = """titles => {
  for (const node of app.graph.nodes.filter(n => titles.includes(n.title))) node.mode = node.mode === 4 ? 0 : 4;
}"""


def upscaler() -> dict[str, torch.Tensor]:
    from spandrel.architectures.ESRGAN import ESRGAN

    return ESRGAN(num_filters=8, num_blocks=1, scale=4).state_dict()


@pytest.fixture
def files(server):
    path = server.base / "models" / "upscale_models" / "RealESRGAN_x4plus.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in upscaler().items()}, path)
    yield
    path.unlink()


@pytest.fixture
def chain(files, frontend):
    """The workflow in the page."""
    frontend.open_template(TITLE)
    return frontend


def switched(frontend, titles: list[str], frames: int) -> np.ndarray:
    """The video [T, H, W, 3] of a run with so many frames, in which the nodes of these titles were switched on or
    off."""
    frontend.page.evaluate(SWITCH, titles)
    frontend.page.evaluate(
        """seconds => {
      const clip = app.graph.nodes.find(n => n.title === 'Driving video'), part = LiteGraph.createNode('Video Slice');
      app.graph.add(part);
      part.widgets.find(w => w.name === 'start_time').value = 1;
      part.widgets.find(w => w.name === 'duration').value = seconds;
      for (const id of [...clip.outputs[1].links]) {
        const link = app.graph.getLink(id);
        part.connect(0, app.graph.getNodeById(link.target_id), link.target_slot);
      }
      clip.connect(1, part, 0);
    }""",
        frames / 25,
    )
    (film,) = (
        path for path in frontend.server.files(frontend.run()) if path.suffix == ".mp4" and "pasted" in path.name
    )
    with av.open(str(film)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


def test_an_upscaler_makes_the_video_larger(chain):
    assert switched(chain, ["Upscaler (bypassed)", "Larger (bypassed)"], 2).shape[1:] == (1024, 2048, 3)
