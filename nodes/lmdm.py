"""Motion out of nothing: load or train a motion prior, sample, join and loop with it."""

from dataclasses import replace

import comfy.model_management as mm
import torch
from comfy_api.latest import io, ui

from ..leo_core.lmdm.checkpoint import save_prior
from ..leo_core.lmdm.prior import Sampling, require_frames
from ..leo_core.lmdm.training import PriorTrainer, PriorTraining, fit_config, loss_curve
from ..leo_core.motion import MotionSequence, change_rate, concatenate, pose_code, trim
from .support import files
from .support.chunks import Progress, WindowProgress
from .support.files import free_path
from .support.handles import MotionPriorHandle
from .support.sockets import LeoLMDM, LeoMotion
from .support.widgets import sampling_inputs

LONGEST = 1_000_000


class LEOLoadMotionPrior(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOLoadMotionPrior",
            display_name="LEO Load Motion Prior",
            category="LEO/load",
            description="Loads a motion prior: a model of how people move, in the codes of one animator.",
            search_aliases=["LMDM", "motion diffusion model", "motion model", "load model"],
            inputs=[
                io.Combo.Input(
                    "prior",
                    options=files.list_files("motion_prior"),
                    tooltip="Prior from ComfyUI's models/leo folder, one that comes with the pack, or one saved by "
                    "LEO Train Motion Prior.",
                )
            ],
            outputs=[
                LeoLMDM.Output("prior", tooltip="The motion prior; it fits only the animator that it was trained for.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, prior=None) -> list[tuple[int, int]]:
        return files.fingerprint(prior, "motion_prior")

    @classmethod
    def execute(cls, prior: str) -> io.NodeOutput:
        return io.NodeOutput(MotionPriorHandle.load(files.resolve_file(prior)))


class LEOLMDMSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOLMDMSampler",
            display_name="LEO LMDM Sampler",
            category="LEO/core",
            description="Generates motion of any length without a driving video, from a start pose or from scratch; or "
            "varies and continues a given motion.",
            search_aliases=[
                "motion diffusion",
                "generate motion",
                "text free animation",
                "latent motion",
                "animate image",
                "endless video",
            ],
            inputs=[
                LeoLMDM.Input("prior", tooltip="The motion prior of the animator that will render the motion."),
                # before the pose: a bypassed node hands on the first input of its output's type
                LeoMotion.Input(
                    "motion",
                    optional=True,
                    tooltip="A motion to vary instead of making a new one; frames beyond its end continue it.",
                ),
                LeoMotion.Input(
                    "start_pose",
                    optional=True,
                    tooltip="The exact pose of the first frame, from LEO Encoder; without it, one is sampled.",
                ),
                io.Int.Input(
                    "frames",
                    default=128,
                    optional=True,
                    min=1,
                    max=LONGEST,
                    tooltip="Length of the motion in frames, including the start pose; any number works.",
                ),
                *sampling_inputs(),
                io.Float.Input(
                    "variation",
                    default=0.3,
                    optional=True,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How much the connected motion is changed: 0 keeps it exactly, 1 keeps only its start.",
                ),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The motion, at the frame rate of the prior.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        prior: MotionPriorHandle,
        frames=128,
        seed=0,
        steps=50,
        sampler=Sampling.sampler,
        eta=0.0,
        variation=0.3,
        start_pose=None,
        motion=None,
    ) -> io.NodeOutput:
        model, start = prior.prior, None
        require_frames(frames)
        if start_pose is not None:
            prior.check("start pose", start_pose)
            start = pose_code(start_pose)[None]
        sampling = Sampling(seed, steps, sampler, eta)
        if motion is None:
            return io.NodeOutput(
                prior.motion(model.sample(frames, sampling, start, prior.ready(), WindowProgress(prior, cls)))
            )

        prior.check("motion", motion)
        given = change_rate(motion, model.fps)
        given = trim(given, 0, min(frames, len(given))).codes
        beyond = frames - len(given)
        progress = WindowProgress(prior, cls, calls=1 if beyond == 0 else 2)
        device = prior.ready()
        varied = model.vary(given, variation, sampling, start, device, progress)
        progress.next_call()
        return io.NodeOutput(
            prior.motion(torch.cat([varied, model.extend(varied, beyond, sampling, device, progress)]))
        )


def check_rate(prior: MotionPriorHandle, motion: MotionSequence) -> None:
    if motion.fps != prior.prior.fps:
        raise ValueError(
            f"The motion runs at {motion.fps} fps, but the motion prior at {prior.prior.fps} fps. "
            f"Convert the motion to {prior.prior.fps} fps with LEO Retime Motion."
        )


class LEOJoinMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOJoinMotion",
            display_name="LEO Join Motion",
            category="LEO/motion",
            description="Joins motions end to end, with generated transitions between them so that no seam shows.",
            search_aliases=["concatenate motion", "transition", "append", "merge clips", "in-between"],
            inputs=[
                io.Autogrow.Input(
                    "motions",
                    tooltip="The motions to join, in this order.",
                    template=io.Autogrow.TemplatePrefix(
                        LeoMotion.Input("motion", tooltip="A motion to join to the one before."),
                        prefix="motion",
                        min=2,
                        max=50,
                    ),
                ),
                io.Int.Input(
                    "transition_frames",
                    default=24,
                    optional=True,
                    min=0,
                    max=LONGEST,
                    tooltip="Frames to generate between each motion and the next; 0 joins them as they are.",
                ),
                LeoLMDM.Input(
                    "prior",
                    optional=True,
                    tooltip="The motion prior that generates the transitions; not needed for 0 frames.",
                ),
                *sampling_inputs(),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="All motions and the transitions between them.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        motions,
        transition_frames=24,
        seed=0,
        steps=50,
        sampler=Sampling.sampler,
        eta=0.0,
        prior: MotionPriorHandle | None = None,
    ) -> io.NodeOutput:
        parts = [motion for motion in motions.values() if motion is not None]
        joined = concatenate(parts)
        if transition_frames == 0 or len(parts) == 1:
            return io.NodeOutput(joined)
        if prior is None:
            raise ValueError(
                "Transitions are made by a motion prior, and none is connected. "
                "Connect LEO Load Motion Prior, or set the transition to 0 frames."
            )
        prior.check("motion", joined)
        check_rate(prior, joined)
        progress = WindowProgress(prior, cls, calls=len(parts) - 1)
        device = prior.ready()
        codes = [parts[0].codes]
        for index, (before, after) in enumerate(zip(parts[:-1], parts[1:], strict=True)):
            sampling = Sampling((seed + index) % 2**64, steps, sampler, eta)
            codes += [
                prior.prior.transition(before.codes, transition_frames, after.codes, sampling, device, progress),
                after.codes,
            ]
            progress.next_call()
        return io.NodeOutput(replace(joined, codes=torch.cat(codes)))


class LEOLoopMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOLoopMotion",
            display_name="LEO Loop Motion",
            category="LEO/motion",
            description="Adds generated motion at the end that leads back to the beginning, so that the video can "
            "play in an endless loop.",
            search_aliases=["seamless loop", "endless", "cycle", "gif"],
            inputs=[
                LeoLMDM.Input("prior", tooltip="The motion prior that generates the way back."),
                LeoMotion.Input("motion", tooltip="The motion to close into a loop."),
                io.Int.Input(
                    "transition_frames",
                    default=24,
                    optional=True,
                    min=1,
                    max=LONGEST,
                    tooltip="Number of frames for the way back from the last pose to the first.",
                ),
                *sampling_inputs(),
            ],
            outputs=[
                LeoMotion.Output(
                    "motion", tooltip="The motion and the way back; its last frame leads into the first without a seam."
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, prior: MotionPriorHandle, motion, transition_frames=24, seed=0, steps=50, sampler=Sampling.sampler, eta=0.0
    ) -> io.NodeOutput:
        prior.check("motion", motion)
        check_rate(prior, motion)
        sampling = Sampling(seed, steps, sampler, eta)
        back = prior.prior.transition(
            motion.codes, transition_frames, motion.codes, sampling, prior.ready(), WindowProgress(prior, cls)
        )
        return io.NodeOutput(replace(motion, codes=torch.cat([motion.codes, back])))


class LEOTrainMotionPrior(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOTrainMotionPrior",
            display_name="LEO Train Motion Prior",
            category="LEO/train",
            description="Learns in minutes how the people in your own clips move, and saves that as a motion prior.",
            search_aliases=["train LMDM", "fine-tune motion", "motion style", "personalize", "learn motion"],
            is_output_node=True,
            inputs=[
                io.Autogrow.Input(
                    "motions",
                    tooltip="Motions of your clips from LEO Motion Encoder, all from the same animator.",
                    template=io.Autogrow.TemplatePrefix(
                        LeoMotion.Input("motion", tooltip="A motion to learn from; longer is better."),
                        prefix="motion",
                        min=1,
                        max=100,
                    ),
                ),
                io.String.Input(
                    "name",
                    default="my motion prior",
                    optional=True,
                    tooltip="File name in ComfyUI's output/leo folder; a number is added if the name is taken.",
                ),
                io.Int.Input(
                    "steps",
                    default=1500,
                    optional=True,
                    min=1,
                    max=1_000_000,
                    tooltip="Training steps; more follow the clips more closely and take longer.",
                ),
                io.Int.Input(
                    "batch",
                    default=32,
                    optional=True,
                    min=1,
                    max=4096,
                    tooltip="Motion windows per step.",
                    advanced=True,
                ),
                io.Int.Input(
                    "window",
                    default=64,
                    optional=True,
                    min=16,
                    max=512,
                    advanced=True,
                    tooltip="Frames the prior sees at once; shortened when no clip is that long.",
                ),
                io.Float.Input(
                    "rate",
                    default=1e-3,
                    optional=True,
                    min=1e-6,
                    max=0.1,
                    step=1e-5,
                    round=False,
                    tooltip="Peak learning rate.",
                    advanced=True,
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    optional=True,
                    min=0,
                    max=2**64 - 1,
                    tooltip="The same seed, motions and settings give the same prior.",
                ),
            ],
            outputs=[
                LeoLMDM.Output(
                    "prior",
                    tooltip="The trained prior, ready to sample from; also saved, and listed by LEO Load Motion Prior.",
                )
            ],
        )

    @classmethod
    def execute(
        cls, motions, name="my motion prior", steps=1500, batch=32, window=64, rate=1e-3, seed=0
    ) -> io.NodeOutput:
        given = [motion for motion in motions.values() if motion is not None]
        path = free_path(name)
        config = fit_config(given, window)
        options = PriorTraining(steps=steps, batch=batch, lr=rate, seed=seed)
        losses: list[float] = []
        progress = Progress(steps)

        def on_step(step: int, total: int, loss: float) -> None:
            mm.throw_exception_if_processing_interrupted()
            losses.append(loss)
            progress.update(step, lambda: loss_curve(losses))

        # Nodes run in inference mode, where nothing can be trained.
        with torch.inference_mode(False), torch.enable_grad():
            trained = PriorTrainer(given, config, options, device=mm.get_torch_device()).train(on_step)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_prior(path, trained)
        # 1 is the loss of a model that knows nothing; most of the way is the Gaussian process, fitted before the first
        # step.
        few = max(1, min(20, steps // 5))
        first, last = sum(losses[:few]) / few, sum(losses[-few:]) / few
        message = (
            f"{path.name}: loss 1 -> {first:.3f} after the closed-form fit -> {last:.3f} after training, windows of "
            f"{config.length} frames at {config.fps} fps"
        )
        return io.NodeOutput(MotionPriorHandle.load(str(path)), ui=ui.PreviewText(message))


NODES: list[type[io.ComfyNode]] = [
    LEOLoadMotionPrior,
    LEOLMDMSampler,
    LEOJoinMotion,
    LEOLoopMotion,
    LEOTrainMotionPrior,
]
