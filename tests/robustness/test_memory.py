"""Too little memory: a chunk that does not fit is halved and the frames stay, weights may come from anywhere, and go
when asked."""

from fractions import Fraction

import comfy.model_management as mm
import pytest
import torch
from leo_pack.nodes import animator as nodes
from leo_pack.nodes import video
from leo_pack.nodes.support.handles import MotionPriorHandle
from leo_pack.nodes.support.rendering import encode_appearance

from leo_core.lmdm.prior import Sampling
from leo_core.motion import MotionSequence
from leo_core.video import read_video


@pytest.fixture
def clip():
    return torch.rand(13, 24, 24, 3, generator=torch.Generator().manual_seed(1))


def everything(handle, photo, clip, tmp_path) -> dict[str, torch.Tensor]:
    """What every stage that runs a network makes of a photo and a clip."""
    appearance, pose = nodes.LEOEncoder.execute(handle, photo).result
    (motion,) = nodes.LEOMotionEncoder.execute(handle, fps=25.0, images=clip).result
    (flow,) = nodes.LEOFlowGenerator.execute(handle, appearance, motion).result
    frames, painted = nodes.LEOInpaintingDecoder.execute(handle, appearance, flow, True, picture=photo).result
    settings = {
        "full_resolution": True,
        "crf": 0,
        "feather": 0.1,
        "region": "box",
        "length": "motion",
        "broken_frames": "hold",
    }
    film = video.LEORenderVideo.execute(handle, appearance, motion, picture=photo, **settings).result[0]
    shown = torch.stack([torch.from_numpy(frame) for frame in read_video(film.get_stream_source())]).float() / 255
    return {
        "pose": pose.codes,
        "motion": motion.codes,
        "finest flow": flow.displacement[32].float(),
        "frames": frames,
        "inpainted": painted,
        "film": shown,
    }


def assert_same(found: dict, expected: dict) -> None:
    """The same values. Batches of another size may be summed in another order, and then a float16 flow rounds to its
    neighbor: two steps of a byte in single pixels of this animator of random weights."""
    for what, value in expected.items():
        atol = 2 / 255 if what in ("frames", "film") else 2e-3
        torch.testing.assert_close(
            found[what], value, rtol=1e-3, atol=atol, msg=lambda text, what=what: f"{what}: {text}"
        )


def runs_out(forward, calls: list[int], room: int):
    """A network on a device that holds ``room`` frames."""

    def limited(*arguments):
        count = max(
            len(a) if isinstance(a, torch.Tensor) else max(map(len, a.values())) for a in arguments if a is not None
        )
        calls.append(count)
        if count > room:
            raise torch.OutOfMemoryError("no room")
        return forward(*arguments)

    return limited


@pytest.mark.parametrize("room", [1, 3])
@pytest.mark.parametrize(
    "stage", ["motion_head", "flow_generator", "decoder"]
)  # a CPU encodes picture by picture: nothing to halve
def test_memory_that_runs_out_in_a_stage_gives_the_same_frames(
    stage, room, handle, photo, clip, comfy_folders, monkeypatch
):
    expected = everything(handle, photo, clip, comfy_folders)
    network, calls = getattr(handle, stage).model, []
    monkeypatch.setattr(network, "forward", runs_out(network.forward, calls, room))
    assert_same(everything(handle, photo, clip, comfy_folders), expected)
    assert max(calls) > room  # it did run out


def test_memory_that_runs_out_at_random_moments_gives_the_same_frames(handle, photo, clip, comfy_folders, monkeypatch):
    """Not only for large chunks: other programs take memory too."""
    expected = everything(handle, photo, clip, comfy_folders)
    draw = torch.Generator().manual_seed(5)
    for stage in ("encoder", "flow_generator", "decoder"):
        network = getattr(handle, stage).model

        def unreliable(*arguments, forward=network.forward):
            count = max(
                len(a) if isinstance(a, torch.Tensor) else max(map(len, a.values())) for a in arguments if a is not None
            )
            if count > 1 and torch.rand((), generator=draw) < 0.5:
                raise torch.OutOfMemoryError("somebody took it")
            return forward(*arguments)

        monkeypatch.setattr(network, "forward", unreliable)
    assert_same(everything(handle, photo, clip, comfy_folders), expected)


def test_the_full_resolution_warp_goes_on_without_the_device(handle, photo, clip, comfy_folders, monkeypatch):
    """On a CPU that is itself out of memory there is nothing left to try, and it says so."""
    monkeypatch.setattr(
        "leo_core.fullres.FullResolution.__call__", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no room"))
    )
    with pytest.raises(torch.OutOfMemoryError):
        everything(handle, photo, clip, comfy_folders)


def weighted(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Layers that ComfyUI may leave behind: those whose weights are cast where they are used."""
    return [module for module in model.modules() if hasattr(module, "comfy_cast_weights")]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_partial_load_gives_the_same_result(share, handle, photo, clip, comfy_folders):
    """Low VRAM: ComfyUI loads a part of each network, the rest is brought layer by layer."""
    expected = everything(handle, photo, clip, comfy_folders)
    for stage in ("encoder", "motion_head", "flow_generator", "decoder"):
        patcher = getattr(handle, stage)
        patcher.detach()
        size = patcher.model_size()
        patcher.load(patcher.load_device, lowvram_model_memory=max(1, int(share * size)))
        left = [module for module in weighted(patcher.model) if module.comfy_cast_weights]
        assert left, stage
    assert_same(everything(handle, photo, clip, comfy_folders), expected)


def test_a_partly_loaded_prior_samples_the_same_motion(prior_file):
    prior = MotionPriorHandle.load(prior_file)
    sampling = Sampling(seed=3, steps=3)
    with torch.inference_mode():
        expected = prior.prior.sample(20, sampling)
        prior.patcher.detach()
        prior.patcher.load(prior.patcher.load_device, lowvram_model_memory=prior.patcher.model_size() // 2)
        assert any(module.comfy_cast_weights for module in weighted(prior.prior.unet))
        torch.testing.assert_close(prior.prior.sample(20, sampling), expected, rtol=1e-5, atol=1e-5)


def test_models_leave_when_comfyui_asks(handle, photo, clip, comfy_folders, prior_file):
    """/free, and a node of another pack that needs the room."""
    expected = everything(handle, photo, clip, comfy_folders)
    prior = MotionPriorHandle.load(prior_file)
    prior.ready()
    ours = [handle.encoder, handle.motion_head, handle.flow_generator, handle.decoder, prior.patcher]
    loaded = [entry.model for entry in mm.current_loaded_models]
    assert all(any(patcher is model for model in loaded) for patcher in ours)
    mm.unload_all_models()
    assert not [entry for entry in mm.current_loaded_models if any(entry.model is patcher for patcher in ours)]
    for patcher in ours:
        assert {parameter.device for parameter in patcher.model.parameters()} == {patcher.offload_device}
    assert_same(everything(handle, photo, clip, comfy_folders), expected)


def test_the_same_inputs_give_the_same_bytes(handle, photo, clip, comfy_folders, prior_file):
    """On one machine, with nothing cached between the two."""
    first, second = (everything(handle, photo, clip, comfy_folders) for _ in range(2))
    for what, value in first.items():
        assert torch.equal(second[what], value), what
    prior = MotionPriorHandle.load(prior_file)
    with torch.inference_mode():
        drawn = [prior.prior.sample(40, Sampling(seed=2**64 - 1, steps=3)) for _ in range(2)]
    assert torch.equal(*drawn)
    films = [
        video.LEORenderVideo.execute(
            handle,
            encode_appearance(handle, photo),
            MotionSequence(first["motion"], Fraction(25), handle.id),
            full_resolution=False,
            crf=18,
            feather=0.1,
            region="box",
            length="motion",
            broken_frames="hold",
        ).result[0]
        for _ in range(2)
    ]
    contents = [open(film.get_stream_source(), "rb").read() for film in films]
    assert contents[0] == contents[1]
