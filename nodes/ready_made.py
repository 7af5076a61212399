"""One choice of what a person does: a motion that comes with the pack, or one sampled from the motion prior."""

from pathlib import Path

from comfy_api.latest import io

from ..leo_core import motion as ops
from ..leo_core.lmdm.prior import Sampling
from ..leo_core.motion import MotionSequence, pose_code
from .support.chunks import WindowProgress
from .support.files import PACK_MODELS
from .support.handles import MotionPriorHandle
from .support.sockets import LeoLMDM, LeoMotion
from .support.widgets import seed_input, steps_input

SAMPLED = "sampled"
LIBRARY = PACK_MODELS / "leo-face-128"


def ready_made() -> dict[str, Path]:
    """The files of the motions that come with the pack, by name."""
    return {path.stem: path for path in sorted(LIBRARY.glob("*.safetensors"))}


class LEOChooseMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOChooseMotion",
            display_name="LEO Choose Motion",
            category="LEO/motion",
            description="Animates a person with a ready-made motion, chosen by name, or with one sampled from the "
            "motion prior, of any length.",
            search_aliases=["motion preset", "motion library", "talk", "nod", "look around", "gesture"],
            inputs=[
                LeoMotion.Input("pose", tooltip="The pose of the picture to animate, from LEO Encoder."),
                io.Combo.Input(
                    "motion",
                    options=[SAMPLED, *ready_made()],
                    default=SAMPLED,
                    optional=True,
                    tooltip="What the person does: a new motion sampled from the prior, or one that comes with the "
                    "pack.",
                ),
                io.Float.Input(
                    "seconds",
                    default=5.0,
                    optional=True,
                    min=0.04,
                    max=36_000.0,
                    step=0.1,
                    tooltip="Length of the motion; a ready-made one is repeated, or cut short.",
                ),
                seed_input("Another seed gives another sampled motion; ready-made ones do not change."),
                steps_input(25, advanced=True),
                LeoLMDM.Input(
                    "prior",
                    optional=True,
                    lazy=True,
                    tooltip="The motion prior to sample from; loaded only when motion is 'sampled'.",
                ),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The poses to render the picture with.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def check_lazy_status(cls, motion=SAMPLED, **inputs) -> list[str]:
        return ["prior"] if motion == SAMPLED and "prior" in inputs and inputs["prior"] is None else []

    @classmethod
    def execute(
        cls,
        pose: MotionSequence,
        motion: str = SAMPLED,
        seconds: float = 5.0,
        seed: int = 0,
        steps: int = 25,
        prior: MotionPriorHandle | None = None,
    ) -> io.NodeOutput:
        if motion != SAMPLED:
            driving = cls.load(motion)
            frames = max(1, round(seconds * driving.fps))
            return io.NodeOutput(ops.transfer(ops.repeat(driving, frames), pose))
        if prior is None:
            raise ValueError(
                "A sampled motion needs a motion prior, and none is connected. Connect LEO Load Motion Prior, "
                "or choose a ready-made motion."
            )
        prior.check("pose", pose)
        frames = max(1, round(seconds * prior.prior.fps))
        start, sampling = pose_code(pose)[None], Sampling(seed, steps)
        return io.NodeOutput(
            prior.motion(prior.prior.sample(frames, sampling, start, prior.ready(), WindowProgress(prior, cls)))
        )

    @staticmethod
    def load(name: str) -> MotionSequence:
        """:raises ValueError: no motion of that name comes with the pack."""
        library = ready_made()
        if name not in library:
            raise ValueError(
                f"There is no ready-made motion '{name}'. Choose '{SAMPLED}' or one of: {', '.join(library)}."
            )
        return ops.load_motion(library[name])[0]


NODES: list[type[io.ComfyNode]] = [LEOChooseMotion]
