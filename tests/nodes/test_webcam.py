"""The webcam's picture as the page hands it to the node."""

import pytest
from PIL import Image


def test_the_uploaded_picture_is_read(pack, comfy_folders):
    folder = comfy_folders / "temp" / "webcam"
    folder.mkdir(parents=True)
    Image.new("RGB", (64, 48), (255, 0, 51)).save(folder / "a.png")
    (picture,) = pack["LEOWebcam"].execute("webcam/a.png [temp]").result
    assert picture.shape == (1, 48, 64, 3) and picture[0, 0, 0].tolist() == pytest.approx([1, 0, 0.2])


@pytest.mark.parametrize(
    "image, message", [("", "let the browser use the camera"), ("webcam/b.png [temp]", "is gone. Press Run again")]
)
def test_without_a_picture_it_says_what_to_do(pack, image, message):
    with pytest.raises(ValueError, match=message):
        pack["LEOWebcam"].execute(image)
