"""Crop Subject, Paste Back and Load Sample as a graph would call them."""
import pytest
import torch
from leo_pack.nodes import photo, sample
from leo_pack.nodes.support.images import opaque
from leo_pack.nodes.support.streams import open_video

BOX = {"x": 30.5, "y": 20, "width": 40.0, "height": 50.0}
CROP = {"margin": 0.25, "aspect": 1.0, "border": "edge", "person": "largest", "index": 0, "point_x": 0.5, "point_y": 0.5, "track": "still",
        "smooth": 5.0, "missing": "hold"}


def pictures(count=1, height=120, width=160, channels=3):
    return torch.rand((count, height, width, channels), generator=torch.Generator().manual_seed(0))


def crop(image, **changes):
    return photo.LEOCropSubject.execute(image, **{**CROP, **changes}).result


def paste(images, at, picture, feather=0.1, region="box", length="hold"):
    return photo.LEOPasteBack.execute(images, at, picture, feather, region, length).result[0]


@pytest.fixture(autouse=True)
def folders(comfy_folders):
    return comfy_folders


@pytest.mark.parametrize("node", [*photo.NODES, *sample.NODES], ids=lambda node: node.__name__)
def test_everything_explains_itself(node):
    schema = node.GET_SCHEMA()
    assert schema.node_id == node.__name__ and schema.category in ("LEO/photo", "LEO/load")
    assert schema.description and schema.search_aliases and schema.display_name.replace(" ", "") == schema.node_id
    for port in [*schema.inputs, *schema.outputs]:
        assert port.tooltip and port.tooltip.endswith("."), port.id


def test_an_unconnected_box_crops_nothing():
    """BOUNDING_BOX is a widget with a default box; as an input that must be wired it cannot crop behind the user's back."""
    inputs = photo.LEOCropSubject.GET_NODE_INFO_V1()["input"]
    assert inputs["optional"]["boxes"][1]["forceInput"] is True
    image = pictures(2)
    cut, _ = crop(image, aspect=0.0)
    assert torch.equal(cut, image)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_cropping_and_pasting_back_changes_nothing(channels):
    image = pictures(3, channels=channels)
    original = image.clone()
    cut, at = crop(image, boxes=BOX)
    assert cut.shape == (3, 75, 75, 3)
    back = paste(cut, at, image)
    assert torch.equal(back, opaque(image)), "transparency on black"
    assert torch.equal(image, original)


def test_frames_go_back_into_one_photo_and_only_there():
    image = pictures()
    _, at = crop(image, boxes=BOX)
    back = paste(torch.zeros(5, 32, 32, 3), at, image)
    assert back.shape == (5, 120, 160, 3)
    changed = (back[4] != image[0]).any(-1).nonzero()
    assert changed.amin(0).tolist() >= [8, 13] and changed.amax(0).tolist() <= [82, 88]


@pytest.mark.parametrize("length, count, behind", [("hold", 5, [0, 1, 2, 2, 2]), ("loop", 5, [0, 1, 2, 0, 1]),
                                                   ("ping-pong", 5, [0, 1, 2, 1, 0]), ("cut", 3, [0, 1, 2])])
def test_fewer_pictures_than_frames_follow_the_policy(length, count, behind):
    image = pictures(3)
    _, at = crop(image, boxes=BOX)
    back = paste(torch.zeros(5, 32, 32, 3), at, image, length=length)
    assert len(back) == count
    assert [next(i for i in range(3) if torch.equal(frame[0], image[i, 0])) for frame in back] == behind
    assert len(paste(torch.zeros(2, 32, 32, 3), at, image, length=length)) == (2 if length == "cut" else 3)


def test_frames_without_a_subject_pass_through():
    image = pictures(4)
    _, at = crop(image, boxes=[[BOX], [], [BOX], [BOX]], missing="pass through")
    back = paste(torch.zeros(4, 32, 32, 3), at, image)
    assert [torch.equal(back[i], image[i]) for i in range(4)] == [False, True, False, False]


def test_a_picture_too_small_to_show_anybody_is_refused():
    with pytest.raises(ValueError, match="8x8 pixels"):
        crop(pictures(1, 8, 8))


def test_every_sample_loads():
    names = sample.LEOLoadSample.GET_SCHEMA().inputs[0].options
    assert any(name.endswith(".png") for name in names) and any(name.endswith(".mp4") for name in names)
    for name in names:
        image, video = sample.LEOLoadSample.execute(name).result
        assert image.shape[0] == 1 and image.shape[3] == 3 and 0.05 < image.mean() < 0.95
        stream = open_video(video)
        assert len(stream) == (1 if name.endswith(".png") else len(list(stream)))
        assert torch.equal(image[0], torch.from_numpy(next(iter(stream))).float() / 255)
        assert stream.size == tuple(image.shape[1:3])


@pytest.mark.parametrize("shape", [(120, 160), (1, 120, 160), (1, 1, 120, 160), (1, 120, 160, 1)])
def test_a_mask_of_any_shape_that_nodes_give_is_read(shape):
    mask = torch.zeros(120, 160)
    mask[30:90, 40:100] = 1
    cut, made = crop(pictures(), mask=mask.reshape(shape), margin=0.0)
    assert made.size == (60, 60) and made.corner(0) == (30, 40)


def test_a_mask_of_another_shape_is_refused_readably():
    with pytest.raises(ValueError, match=r"mask of shape \[1, 3, 120, 160\]"):
        crop(pictures(), mask=torch.ones(1, 3, 120, 160))


def test_a_mask_of_the_background_is_noticed(caplog):
    """Load Image's MASK of a cut-out photo is 1 where nothing is."""
    caplog.set_level("INFO")
    mask = torch.zeros(1, 120, 160)
    mask[:, 30:90, 40:100] = 1
    crop(pictures(), mask=1 - mask)
    assert "Invert Mask" in caplog.text
    caplog.clear()
    crop(pictures(), mask=mask)
    assert "Invert Mask" not in caplog.text


def test_what_transparency_hides_does_not_come_back(caplog):
    caplog.set_level("INFO")
    image = pictures(channels=4)
    image[..., 3] = 1
    image[:, :, :80, 3] = 0
    cut, _ = crop(image)
    assert cut.shape == (1, 120, 160, 3) or cut.shape[-1] == 3
    assert (cut[:, :120, :70] == 0).all() and (cut[:, :, -60:] > 0).any()
    assert "transparent part on black" in caplog.text
