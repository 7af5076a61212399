"""Models on the sockets: their networks under ComfyUI's model manager."""

from functools import lru_cache

import comfy.model_management as mm
import comfy.model_patcher
import comfy.ops
import torch

from ...leo_core.animator import AnimatorConfig, Appearance, Direction, fast_bfloat16
from ...leo_core.animator.checkpoint import load_animator
from ...leo_core.identity import AnimatorId, require_same_animator
from ...leo_core.lmdm.checkpoint import load_prior
from ...leo_core.lmdm.prior import MotionPrior
from ...leo_core.motion import MotionSequence, require_directions
from .chunks import load_for_chunks
from .files import PACK_MODELS

SHIPPED = PACK_MODELS / "leo-face-128.safetensors"


class AnimatorHandle:
    """What a LEO_ANIMATOR socket carries: the networks, each under ComfyUI's model manager.

    :param path: the model file.
    :raises ValueError: it is not an animator.
    """

    def __init__(self, path: str):
        self.device = mm.get_torch_device()
        offload = mm.unet_offload_device()
        self.dtype = self.flow_dtype = torch.float16 if mm.should_use_fp16(self.device) else torch.float32
        if self.device.type == "cpu" and fast_bfloat16() and not mm.FORCE_FP32:
            self.flow_dtype = torch.bfloat16
        animator, info = load_animator(path, comfy.ops.manual_cast, self.dtype, offload, self.flow_dtype)
        self.id: AnimatorId = info.id
        self.directions: dict[int, Direction] = info.directions
        self.config: AnimatorConfig = animator.config
        self.dictionary = animator.dictionary
        self.encoder, self.motion_head, self.flow_generator, self.decoder = (
            self._managed(network, offload)
            for network in (animator.encoder, animator.motion_head, animator.flow_generator, animator.decoder)
        )

    def _managed(self, network: torch.nn.Module, offload: torch.device):
        mm.archive_model_dtypes(network)
        return comfy.model_patcher.CoreModelPatcher(network, load_device=self.device, offload_device=offload)

    def load(self, *patchers) -> int:
        """Bring networks to the device with room for a chunk; returns how many frames to run at once."""
        return load_for_chunks(list(patchers), self.device, self.config.memory_per_frame(self.dtype.itemsize))

    def to_device(self, value: torch.Tensor) -> torch.Tensor:
        return value.to(self.device, self.dtype)

    def for_flow(self, features: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
        """Features as the flow generator takes them, which may be less precise than the others."""
        return {scale: maps.to(self.device, self.flow_dtype) for scale, maps in features.items()}

    def own_latent(self, appearance: Appearance) -> torch.Tensor:
        """z + Q a of the source's own pose, [1, style_dim] on the CPU in float32."""
        return appearance.code.to("cpu", torch.float32) + self.dictionary(appearance.pose)

    def anchor(self, features: dict[int, torch.Tensor], appearance: Appearance) -> dict[int, torch.Tensor] | None:
        """`FlowGenerator.anchor` of an appearance whose features are `for_flow`."""
        latent = self.own_latent(appearance).to(self.device, self.flow_dtype)
        return self.flow_generator.model.anchor(features, latent)

    def generate_flow(
        self, features: dict[int, torch.Tensor], latents: torch.Tensor, anchor: dict[int, torch.Tensor] | None
    ) -> tuple[dict, dict]:
        """The flow generator on features `for_flow`, latents of any precision and `anchor`; displacements and masks,
        float32."""
        return self.flow_generator.model(features, latents.to(self.device, self.flow_dtype), anchor)


def shipped_animator() -> AnimatorHandle:
    """The face animator that comes with the pack, loaded once."""
    return _loaded_once(str(SHIPPED), SHIPPED.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _loaded_once(path: str, _changed: int) -> AnimatorHandle:
    return AnimatorHandle(path)


class MotionPriorHandle:
    """What a LEO_LMDM socket carries: a motion prior whose denoiser is under ComfyUI's model manager."""

    def __init__(self, prior: MotionPrior):
        self.prior = prior
        self.device = mm.get_torch_device()
        mm.archive_model_dtypes(prior.unet)
        self.patcher = comfy.model_patcher.CoreModelPatcher(
            prior.unet, load_device=self.device, offload_device=mm.unet_offload_device()
        )

    @classmethod
    def load(cls, path: str) -> "MotionPriorHandle":
        """:raises ValueError: the file is not a motion prior."""
        return cls(load_prior(path, comfy.ops.manual_cast, mm.unet_offload_device()))

    def ready(self) -> torch.device:
        """Bring the denoiser to its device, which is returned."""
        window = self.prior.config.length * sum(self.prior.config.channels) * 4
        mm.load_models_gpu([self.patcher], memory_required=64 * window)
        return self.device

    def check(self, what: str, motion: MotionSequence) -> None:
        """Refuse a motion of another animator, or one of another number of directions, which a damaged or forged
        file may hold."""
        require_same_animator(what, motion.animator, "motion prior", self.prior.animator)
        require_directions(what, motion, "motion prior", self.prior.config.directions)

    def motion(self, codes: torch.Tensor) -> MotionSequence:
        return MotionSequence(codes, self.prior.fps, self.prior.animator)
