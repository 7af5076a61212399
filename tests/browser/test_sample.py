"""A file of the user's own on LEO Load Sample, in the real frontend: choose it, and press Run."""

import shutil
from pathlib import Path

import pytest
from frontend import READY
from PIL import Image

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
TITLE = "LEO - Animate a person from one image"
GRAPH = """() => {
  app.graph.clear();
  const make = (type, x) => { const node = LiteGraph.createNode(type); node.pos = [x, 80]; app.graph.add(node);
      return node };
  window.sample = make('LEOLoadSample', 100);
  window.named = () => sample.widgets.find(w => w.name === 'sample').value;
  const shown = make('SaveImage', 600);
  sample.connect(0, shown, 0);
}"""
CHOOSE = "() => sample.widgets.find(w => w.type === 'button').callback()"
LOADED = """name => {
  const picture = sample.leoPreview, { width } = picture.getBoundingClientRect();
  return picture.complete && picture.naturalWidth > 0 && width > 50 && picture.alt === name
    ? [picture.naturalWidth, picture.naturalHeight] : null;
}"""


@pytest.fixture(params=[False, True], ids=["classic", "nodes2"])
def page(request, frontend):
    frontend.server.post("/settings", {"Comfy.VueNodes.Enabled": request.param})
    frontend.page.reload()
    frontend.page.wait_for_function(READY)
    frontend.page.evaluate(GRAPH)
    yield frontend.page
    frontend.server.post("/settings", {"Comfy.VueNodes.Enabled": False})


@pytest.fixture
def photo(tmp_path) -> Path:
    """A phone's photo: it lies on its side, and its EXIF data says so. Named like one of the pack's own."""
    path, picture = tmp_path / "woman.png", Image.open(SAMPLES / "portrait_2.jpg").convert("RGB").resize((300, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "photo.jpg", exif=exif)
    shutil.copyfile(SAMPLES / "standing.png", path)
    return path


@pytest.mark.smoke
def test_a_chosen_file_is_shown_and_runs(page, frontend, photo):
    page.wait_for_function(LOADED, arg=page.evaluate("() => named()"))  # on the screen, before any run
    for path, size in ((photo, Image.open(photo).size), (photo.parent / "photo.jpg", (200, 300))):
        with page.expect_file_chooser() as chooser:
            page.evaluate(CHOOSE)
        chooser.value.set_files(path)
        page.wait_for_function("(name) => named() === name", arg=f"{path.name} [input]")
        width, height = page.wait_for_function(LOADED, arg=f"{path.name} [input]").json_value()
        assert width / height == pytest.approx(size[0] / size[1], rel=0.01)  # upright, and not the sample of that name
        (saved,) = frontend.server.files(frontend.run())
        assert Image.open(saved).size == size


def test_a_clip_dropped_on_the_node_is_taken_and_other_files_are_not(page):
    drop = """async ([name, type]) => {
      const data = new DataTransfer();
      const bytes = await (await fetch('/api/leo/preview?name=woman.png')).arrayBuffer();
      data.items.add(new File([bytes], name, { type }));
      return sample.onDragOver({ dataTransfer: data }) && sample.onDragDrop({ dataTransfer: data });
    }"""
    assert page.evaluate(drop, ["notes.txt", "text/plain"]) is False
    assert page.evaluate(drop, ["mine.jpg", "image/jpeg"]) is True
    page.wait_for_function(LOADED, arg="mine.jpg [input]")
