"""Crop Subject, Paste Back and Load Sample as a graph would call them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from leo_pack.nodes import photo, sample
from leo_pack.nodes.support.faces import find_people
from leo_pack.nodes.support.images import opaque
from leo_pack.nodes.support.streams import open_video
from PIL import Image

BOX = {"x": 30.5, "y": 20, "width": 40.0, "height": 50.0}
CROP = {
    "margin": 0.25,
    "aspect": 1.0,
    "border": "edge",
    "person": "automatic",
    "index": 0,
    "point_x": 0.5,
    "point_y": 0.5,
    "track": "still",
    "smooth": 5.0,
    "missing": "hold",
}


MODELS = Path(__file__).resolve().parents[2] / "models"


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
    """BOUNDING_BOX is a widget with a default box; as an input that must be wired it cannot crop behind the user's
    back."""
    inputs = photo.LEOCropSubject.GET_NODE_INFO_V1()["input"]
    assert inputs["optional"]["boxes"][1]["forceInput"] is True
    image = pictures(2)
    cut, _ = crop(image, aspect=0.0, person="whole picture")
    assert torch.equal(cut, image)


def portrait(name):
    """A bundled portrait, [256, 256, 3]: its face is 110 pixels high, around the middle."""
    return sample.LEOLoadSample.execute(f"{name}.jpg").result[0][0]


def on_wall(*people, height=900, width=1400):
    """Portraits with their corners at (y, x) on a plain wall, [1, H, W, 3]."""
    image = torch.full((1, height, width, 3), 0.6)
    for name, (y, x) in people:
        image[0, y : y + 256, x : x + 256] = portrait(name)
    return image


def middle(at, frame=0):
    y, x = at.corner(frame)
    return y + at.size[0] / 2, x + at.size[1] / 2


def test_a_person_is_found_without_anything_connected(caplog):
    """A photo of any size, cropped to the one face as animators expect it: about half of the crop is face."""
    caplog.set_level("INFO")
    image = on_wall(("portrait_2", (500, 900)))
    cut, at = crop(image)
    assert middle(at) == pytest.approx((628, 1028), abs=30)
    assert 170 < at.size[0] == at.size[1] < 280
    assert torch.equal(cut[0], at.cut(image[0])) and "1 face found" in caplog.text


def test_the_encoder_says_when_a_face_is_too_small_for_its_animator(caplog):
    from leo_pack.nodes.animator import LEOEncoder
    from leo_pack.nodes.support.handles import AnimatorHandle

    caplog.set_level("INFO")
    image = on_wall(("portrait_2", (500, 900)))
    with torch.inference_mode():
        faces, bodies = (AnimatorHandle(str(MODELS / f"leo-{name}-128.safetensors")) for name in ("face", "taichi"))
        LEOEncoder.execute(bodies, image)
        LEOEncoder.execute(faces, crop(image)[0])
        assert "of the picture's height" not in caplog.text
        LEOEncoder.execute(faces, image)
    assert "this animator expects 30% to 95%. Put LEO Crop Subject before LEO Encoder" in caplog.text


def test_of_several_people_the_nearest_or_largest_is_taken():
    image = on_wall(("portrait_1", (100, 100)), ("portrait_4", (500, 1000)))
    assert middle(crop(image, person="nearest", point_x=0.1, point_y=0.1)[1]) == pytest.approx((228, 228), abs=30)
    assert middle(crop(image, person="nearest", point_x=0.9, point_y=0.9)[1]) == pytest.approx((628, 1128), abs=30)
    small = torch.nn.functional.interpolate(portrait("portrait_1").movedim(-1, 0)[None], (128, 128), mode="area")[
        0
    ].movedim(0, -1)
    image[0, 100:356, 100:356] = 0.6
    image[0, 100:228, 100:228] = small
    assert middle(crop(image)[1]) == pytest.approx((628, 1128), abs=30)


def test_a_photo_without_a_face_is_taken_whole_and_says_so(caplog):
    caplog.set_level("INFO")
    image = torch.linspace(0, 1, 300)[None, :, None, None].expand(1, 300, 400, 3)
    cut, _ = crop(image, aspect=0.0)
    assert torch.equal(cut, image) and "No face was found: the whole picture is used" in caplog.text
    with pytest.raises(
        ValueError, match="No face was found in the picture, and person is 'largest'. Connect boxes or a mask"
    ):
        crop(image, person="largest")


def test_a_face_is_followed_over_a_clip():
    """It walks to the right; where nobody is seen, the box is interpolated."""
    frames = [on_wall(("portrait_3", (300, 100 + 60 * t)), height=700, width=1000) for t in range(6)]
    frames[3] = torch.full((1, 700, 1000, 3), 0.6)
    _, at = crop(torch.cat(frames), track="follow", smooth=0.0, missing="interpolate")
    assert [at.is_missing(t) for t in range(6)] == [False, False, False, True, False, False]
    assert [middle(at, t)[1] - middle(at, 0)[1] for t in range(6)] == pytest.approx([0, 60, 120, 180, 240, 300], abs=12)


def test_boxes_and_masks_come_before_faces():
    image = on_wall(("portrait_5", (500, 900)))
    _, at = crop(image, boxes={"x": 0, "y": 0, "width": 100, "height": 100})
    assert middle(at) == (50, 50)


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


@pytest.mark.parametrize(
    "length, count, behind",
    [
        ("hold", 5, [0, 1, 2, 2, 2]),
        ("loop", 5, [0, 1, 2, 0, 1]),
        ("ping-pong", 5, [0, 1, 2, 1, 0]),
        ("cut", 3, [0, 1, 2]),
    ],
)
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


def test_a_file_of_the_users_own_loads_upright_and_is_read_again_when_it_changes(comfy_folders):
    shades = torch.linspace(0, 1, 60).expand(40, 60)[..., None].repeat(1, 1, 3)
    picture = Image.fromarray((shades * 255).byte().numpy())
    exif = Image.Exif()
    exif[0x0112] = 6  # as a phone held upright writes
    picture.save(comfy_folders / "input" / "photo.jpg", exif=exif, quality=95)
    picture.save(comfy_folders / "input" / "woman.png")  # named like a sample
    (comfy_folders / "input" / "notes.txt").write_text("")
    (comfy_folders / "secret.png").write_bytes(b"")
    options = sample.LEOLoadSample.define_schema().inputs[0].options
    assert [name for name in options if "[" in name] == ["photo.jpg [input]", "woman.png [input]"]

    own, video = sample.LEOLoadSample.execute("woman.png [input]").result
    assert own.shape == (1, 40, 60, 3) and open_video(video).size == (40, 60)
    assert torch.equal(own[0], (shades * 255).byte() / 255)
    upright = sample.LEOLoadSample.execute("photo.jpg [input]").result[0][0]
    assert (upright - own[0].rot90(-1)).abs().max() < 0.05
    before = sample.LEOLoadSample.fingerprint_inputs("woman.png [input]")
    picture.resize((80, 80)).save(comfy_folders / "input" / "woman.png")
    assert sample.LEOLoadSample.fingerprint_inputs("woman.png [input]") != before
    linked = sample.LEOLoadSample.fingerprint_inputs(None)
    assert sample.LEOLoadSample.fingerprint_inputs(None) == linked
    picture.save(comfy_folders / "input" / "photo.jpg")
    assert sample.LEOLoadSample.fingerprint_inputs(None) != linked
    for name in ("../secret.png [input]", "gone.jpg [input]", "notes.txt [input]", "photo.jpg"):
        with pytest.raises(ValueError, match="among the samples"):
            sample.LEOLoadSample.execute(name)


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
    cut, _ = crop(image, person="whole picture")
    assert cut.shape == (1, 120, 160, 3) or cut.shape[-1] == 3
    assert (cut[:, :120, :70] == 0).all() and (cut[:, :, -60:] > 0).any()
    assert "transparent parts on black" in caplog.text


def test_a_clip_that_begins_late_has_a_first_picture(comfy_folders):
    """A phone may begin with the sound."""
    with av.open(str(comfy_folders / "input" / "late.mkv"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 + 20 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index + 35, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    image, video = sample.LEOLoadSample.execute("late.mkv [input]").result
    assert image.mean() == pytest.approx(40 / 255, abs=0.01) and len(open_video(video)) == 10


def test_a_cut_out_photo_is_loaded_on_black_and_says_so(comfy_folders, caplog):
    caplog.set_level("INFO")
    pixels = np.full((40, 60, 4), 255, np.uint8)
    pixels[:, :30, 3] = 0
    Image.fromarray(pixels).save(comfy_folders / "input" / "cut_out.png")
    image = sample.LEOLoadSample.execute("cut_out.png [input]").result[0]
    assert (image[:, :, :30] == 0).all() and (image[:, :, 30:] == 1).all()
    assert "shown on black" in caplog.text


def test_a_face_under_transparency_is_not_found():
    woman = sample.LEOLoadSample.execute("woman.png").result[0]
    assert find_people(woman, 1)[0]
    hidden = torch.cat([woman, torch.zeros_like(woman[..., :1])], -1)
    assert not find_people(hidden, 1)[0]


def test_pictures_pasted_with_transparency_say_so(caplog):
    caplog.set_level("INFO")
    image = pictures()
    _, at = crop(image, person="whole picture", aspect=0)
    clear = torch.ones(1, 60, 60, 4)
    clear[..., 3] = 0
    assert (paste(clear, at, image, feather=0)[:, 60, 80] == 0).all()
    assert "pasted as black" in caplog.text
