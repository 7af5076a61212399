"""One photo, one face, a slider for everything that it can do."""

import torch
import torch.nn.functional as F
from comfy_api.latest import io, ui

from ..leo_core import face
from ..leo_core.animator import Appearance
from ..leo_core.crop import Crop, Paste, crop_subject
from ..leo_core.motion import MotionSequence
from .support.faces import find_people
from .support.fullres import FullResolutionFrames
from .support.handles import AnimatorHandle, shipped_animator
from .support.images import is_transparent, one_picture, opaque, to_image
from .support.rendering import encode_appearance, own_pose, render_chunks
from .support.sockets import LeoAnimator, LeoMotion
from .support.status import show_status

# Control -> what a slider does at 1, and at -1 where its range goes below rest; in view from the start.
IN_VIEW = {
    "turn": ("Turns the head to the right of the picture", "to the left"),
    "nod": ("Lowers the chin", "raises it"),
    "tilt": ("Tilts the head to the left of the picture", "to the right"),
    "across": ("Moves the head to the right of the picture", "to the left"),
    "down": ("Moves the head down", "up"),
    "nearer": ("Brings the head nearer", "takes it farther away"),
    "jaw open": ("Opens the mouth", ""),
    "smile": ("Raises the corners of the mouth", "lowers them"),
    "mouth wide": ("Widens the mouth", "narrows it"),
    "close left eye": ("Closes the person's own left eye, on the right of the picture", "opens it wide"),
    "close right eye": ("Closes the person's own right eye, on the left of the picture", "opens it wide"),
    "brows up": ("Raises the brows", "lowers them"),
    "look sideways": ("Looks to the right of the picture", "to the left"),
    "look up": ("Looks up", "down"),
}
MORE = {
    "pucker": ("Puckers the lips", "draws them in"),
    "upper lip up": ("Raises the upper lip", "lowers it"),
    "lower lip down": ("Lowers the lower lip", "raises it"),
    "press lips": ("Presses the lips together", "makes them fuller"),
    "mouth sideways": ("Moves the mouth to the right of the picture", "to the left"),
    "brows down": ("Draws the brows down and together", "draws them apart"),
}
RANGES = {control.name: control for control in face.CONTROLS}
# Longer side of the picture on the node; a larger one would take longer to write than to render.
PREVIEW_SIDE = 1024


def slider_id(control: str) -> str:
    return control.replace(" ", "_")


def sliders(controls: dict[str, tuple[str, str]], advanced: bool) -> list[io.Input]:
    return [
        io.Float.Input(
            slider_id(name),
            default=0.0,
            optional=True,
            min=-1.0 if RANGES[name].low < 0 else 0.0,
            max=1.0,
            step=0.01,
            display_mode=io.NumberDisplay.slider,
            advanced=advanced,
            tooltip=f"{above}{f'; below 0, {below}' if below else ''}.",
        )
        for name, (above, below) in controls.items()
    ]


def find_face(image: torch.Tensor, person: int, margin: float) -> Crop:
    """The square around one face of a photo [1, H, W, C].

    :param person: which face, from the largest.
    :raises ValueError: there is no face, or not that many.
    """
    (people,) = find_people(image, 1)
    height, width = image.shape[1:3]
    if not people:
        raise ValueError(
            f"No face was found in the picture of {width}x{height}. Connect a photo in which a face can be seen, "
            "upright and not in full profile, or crop it closer around the face."
        )
    boxes = [seen.head() for seen in people]
    return crop_subject(1, (height, width), [boxes], pick="index", index=person, margin=margin)


def render_at_full_size(
    animator: AnimatorHandle, appearance: Appearance, pose: MotionSequence, photo: torch.Tensor
) -> torch.Tensor:
    """One pose of a photo [H, W, 3] in its own size."""
    rendered = next(render_chunks(animator, appearance, pose))
    full = FullResolutionFrames(animator, appearance, photo)
    return full(to_image(rendered.pictures)[0], rendered.displacement, rendered.mask)


def preview(image: torch.Tensor) -> torch.Tensor:
    """A picture [1, H, W, 3] for the node."""
    height, width = image.shape[1:3]
    share = PREVIEW_SIDE / max(height, width)
    if share >= 1:
        return image
    size = max(1, round(height * share)), max(1, round(width * share))
    return F.interpolate(image.movedim(-1, 1), size, mode="area").movedim(1, -1)


class LEOExpressionEditor(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOExpressionEditor",
            display_name="LEO Expression Editor",
            category="LEO/photo",
            description="Changes the expression and pose of a face in a photo with sliders, and returns the whole "
            "photo.",
            search_aliases=[
                "expression",
                "face sliders",
                "portrait editor",
                "smile",
                "blink",
                "head rotation",
                "edit face",
                "retouch",
            ],
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "image", tooltip="A photo of any size that shows a face; only the first of a batch is used."
                ),
                LeoAnimator.Input(
                    "animator",
                    optional=True,
                    tooltip="The animator to move the face with; the pack's leo-face-128 if none is connected.",
                ),
                *sliders(IN_VIEW, advanced=False),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    optional=True,
                    min=0.0,
                    max=3.0,
                    step=0.01,
                    tooltip="Scales all sliders together; go above 1 for movements that the animator follows too "
                    "weakly, such as smiles.",
                ),
                *sliders(MORE, advanced=True),
                io.Int.Input(
                    "person",
                    default=0,
                    optional=True,
                    min=0,
                    max=999,
                    advanced=True,
                    tooltip="Which face to edit if there are several, counted from the largest (0).",
                ),
                io.Float.Input(
                    "margin",
                    default=0.25,
                    optional=True,
                    min=0.0,
                    max=4.0,
                    step=0.01,
                    advanced=True,
                    tooltip="Room around the head that moves along with it, as a fraction of the head's box.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The photo with the edited face, at its original size."),
                LeoMotion.Output(
                    "pose", tooltip="The edited pose, a motion of one frame: a keyframe for the motion nodes."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        animator: AnimatorHandle | None = None,
        strength=1.0,
        person=0,
        margin=0.25,
        **amounts: float,
    ) -> io.NodeOutput:
        image, left_out = one_picture(image)
        animator = animator or shipped_animator()
        crop = find_face(image, person, margin)
        photo = opaque(image[0])
        cut = crop.cut(photo)
        appearance = encode_appearance(animator, cut[None])
        wanted = {name: strength * amounts.get(slider_id(name), 0.0) for name in RANGES}
        pose, lost = face.expressed(own_pose(appearance), wanted, animator.directions)
        edited = Paste(crop)(photo, render_at_full_size(animator, appearance, pose, cut))[None]
        cls.report(image, crop, lost, left_out)
        return io.NodeOutput(edited, pose, ui=ui.PreviewImage(preview(edited), cls=cls))

    @classmethod
    def report(cls, image: torch.Tensor, crop: Crop, lost: list[str], left_out: str | None) -> None:
        message = [f"head crop {crop.size[1]}x{crop.size[0]} of {image.shape[2]}x{image.shape[1]}"]
        if lost:
            message.append(f"this animator has no direction for {', '.join(lost)}")
        if is_transparent(image):
            message.append("transparent parts of the picture are shown on black")
        if left_out:
            message.append(left_out)
        show_status(cls, "; ".join(message))


NODES: list[type[io.ComfyNode]] = [LEOExpressionEditor]
