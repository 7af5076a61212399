"""The four stages as nodes, on a tiny animator."""

from fractions import Fraction

import pytest
import torch
from leo_pack.nodes.support.images import to_image
from leo_pack.nodes.support.rendering import render_chunks

from leo_core.motion import MotionSequence


@pytest.fixture
def nodes():
    from leo_pack.nodes import animator

    return animator


@pytest.fixture
def clip():
    return torch.rand(11, 24, 24, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def graph(nodes, handle, photo, clip):
    appearance, pose = nodes.LEOEncoder.execute(handle, photo).result
    (motion,) = nodes.LEOMotionEncoder.execute(handle, fps=12.5, images=clip).result
    (flow,) = nodes.LEOFlowGenerator.execute(handle, appearance, motion).result
    return appearance, pose, motion, flow


def test_what_the_stages_hand_on(graph, handle):
    appearance, pose, motion, flow = graph
    assert len(pose) == 1 and len(motion) == len(flow) == 11
    assert motion.fps == Fraction(25, 2)
    assert flow.scales == handle.config.scales
    assert appearance.animator == pose.animator == motion.animator == flow.animator == handle.id


def test_decoder_without_and_with_the_picture(nodes, handle, graph, photo):
    appearance, _, _, flow = graph
    small, painted = nodes.LEOInpaintingDecoder.execute(handle, appearance, flow, False).result
    assert small.shape == (11, 32, 32, 3) and painted.shape == (11, 32, 32)
    for full_resolution in (False, True):
        frames, painted = nodes.LEOInpaintingDecoder.execute(
            handle, appearance, flow, full_resolution, picture=photo
        ).result
        assert frames.shape == (11, 40, 48, 3) and painted.shape == (11, 40, 48)
        assert 0 <= frames.min() and frames.max() <= 1 and 0 <= painted.min() and painted.max() <= 1


def test_stages_one_by_one_are_rendering_at_once(nodes, handle, graph):
    """Flow Generator and Decoder give the frames of the two run together, but for float16 flows."""
    appearance, _, motion, flow = graph
    apart, _ = nodes.LEOInpaintingDecoder.execute(handle, appearance, flow, False).result
    together = torch.cat([to_image(chunk.pictures) for chunk in render_chunks(handle, appearance, motion)])
    assert (apart - together).abs().mean() < 1 / 255


def test_little_memory_gives_the_same_frames(nodes, handle, graph, clip, photo, monkeypatch):
    appearance, _, motion, flow = graph
    expected, _ = nodes.LEOInpaintingDecoder.execute(handle, appearance, flow, False).result
    for patcher in (handle.encoder, handle.flow_generator, handle.decoder):
        monkeypatch.setattr(patcher.model, "forward", one_at_a_time(patcher.model.forward))
    (again,) = nodes.LEOMotionEncoder.execute(handle, fps=12.5, images=clip).result
    torch.testing.assert_close(again.codes, motion.codes, rtol=1e-4, atol=1e-5)
    (flow,) = nodes.LEOFlowGenerator.execute(handle, appearance, motion).result
    frames, _ = nodes.LEOInpaintingDecoder.execute(handle, appearance, flow, False).result
    torch.testing.assert_close(frames, expected, rtol=0, atol=2 / 255)


def one_at_a_time(forward):
    """A network on a device with room for one frame."""

    def limited(*arguments):
        count = max(
            len(a) if isinstance(a, torch.Tensor) else max(map(len, a.values())) for a in arguments if a is not None
        )
        if count > 1:
            raise torch.OutOfMemoryError("no room")
        return forward(*arguments)

    return limited


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_alpha(nodes, handle, channels):
    picture = torch.rand(1, 32, 32, channels, generator=torch.Generator().manual_seed(2))
    assert nodes.LEOEncoder.execute(handle, picture).result[0].pose.shape == (1, 4)


@pytest.mark.parametrize(
    "picture, words",
    [
        (torch.zeros(0, 32, 32, 3), "batch is empty"),
        (torch.zeros(1, 1, 1, 3), "1x1 pixels"),
        (torch.zeros(1, 32, 32, 2), "2 channels"),
        (torch.full((1, 32, 32, 3), float("nan")), "NaN or infinite"),
    ],
)
def test_pictures_that_cannot_be_read(nodes, handle, picture, words):
    with pytest.raises(ValueError, match=words):
        nodes.LEOEncoder.execute(handle, picture)


def test_the_first_picture_of_a_batch_is_read_and_the_rest_are_reported(nodes, handle, graph, photo, monkeypatch):
    lines = []
    monkeypatch.setattr(nodes, "show_status", lambda node, text: lines.append(text))
    batch = torch.cat([photo, 1 - photo, photo.flip(1)])
    appearance, pose = nodes.LEOEncoder.execute(handle, batch).result
    assert torch.equal(pose.codes, graph[1].codes)
    (line,) = lines
    assert line.startswith("the first of 3 pictures is used") and "Rebatch Images" in line
    frames = [
        nodes.LEOInpaintingDecoder.execute(handle, appearance, graph[3], True, picture=picture).result[0]
        for picture in (photo, batch)
    ]
    assert torch.equal(*frames)


def test_motion_encoder_wants_exactly_one_clip(nodes, handle):
    with pytest.raises(ValueError, match="found none"):
        nodes.LEOMotionEncoder.execute(handle, fps=25.0)


def test_full_resolution_needs_the_picture(nodes, handle, graph):
    appearance, _, _, flow = graph
    with pytest.raises(ValueError, match="no picture is connected"):
        nodes.LEOInpaintingDecoder.execute(handle, appearance, flow, True)


def test_a_motion_of_another_animator_is_refused(nodes, handle, graph):
    from leo_core.identity import AnimatorId

    foreign = MotionSequence(graph[2].codes.clone(), Fraction(25), AnimatorId("stranger", "f" * 64))
    with pytest.raises(ValueError, match="'stranger'"):
        nodes.LEOFlowGenerator.execute(handle, graph[0], foreign)


def test_what_transparency_hides_is_neither_read_nor_shown_and_each_node_says_so(nodes, handle, graph, photo, caplog):
    caplog.set_level("INFO")
    appearance, _, _, flow = graph

    def with_hidden(value: float) -> torch.Tensor:
        cut_out = torch.cat([photo, torch.ones_like(photo[..., :1])], -1)
        cut_out[:, :, :16] = value
        cut_out[:, :, :16, 3] = 0
        return cut_out

    def said(run) -> torch.Tensor:
        caplog.clear()
        result = run()
        assert "on black" in caplog.text
        return result

    for run in (
        lambda hidden: nodes.LEOEncoder.execute(handle, hidden).result[1].codes,
        lambda hidden: nodes.LEOMotionEncoder.execute(handle, images=hidden).result[0].codes,
        lambda hidden: nodes.LEOInpaintingDecoder.execute(handle, appearance, flow, True, hidden).result[0],
    ):
        first, second = (said(lambda run=run, value=value: run(with_hidden(value))) for value in (0.2, 0.9))
        assert torch.equal(first, second)
