"""Real photos and clips: crop a subject out, and put what was rendered back in its place."""

import comfy.model_management as mm
import torch
from comfy_api.latest import io, ui

from ..leo_core.crop import Crop, Paste, crop_subject
from ..leo_core.video import continued_index
from .support.chunks import Progress
from .support.faces import find_people
from .support.images import check_image, is_transparent, opaque
from .support.sockets import LeoCrop
from .support.status import show_status
from .support.widgets import choice_inputs, paste_inputs

CATEGORY = "LEO/photo"
BACKGROUND = (
    "The mask reaches every side of the picture. Does it mark the background? Load Image's mask is 1 where a picture "
    "is transparent: put Invert Mask in between"
)


PEOPLE = ["automatic", "largest", "nearest", "index", "whole picture"]


def covers(crop: Crop) -> bool:
    """Whether a crop, made from a mask, has the whole picture in it."""
    (top, left), (height, width) = crop.corners.amin(0).tolist(), crop.size
    return top <= 0 and left <= 0 and top + height >= crop.source[0] and left + width >= crop.source[1]


def find_boxes(image: torch.Tensor, person: str) -> tuple[list[list[dict]] | None, str]:
    """Boxes of the heads in every frame of an IMAGE, found by the pack's own face finder, or None where there are none
    and ``person`` is automatic; and the message that says what was found.

    :raises ValueError: there are none, and ``person`` asks for one.
    """
    people = find_people(image, len(image))
    most = max(map(len, people))
    if most:
        return [[face.head() for face in found] for found in people], f"{most} face{'s' if most > 1 else ''} found"
    if person == "automatic":
        return None, "No face was found: the whole picture is used"
    raise ValueError(
        f"No face was found in {'the picture' if len(image) == 1 else f'any of the {len(image)} pictures'}, and "
        f"person is "
        f"'{person}'. Connect boxes or a mask that says where the person is, or choose 'automatic' or 'whole picture'."
    )


class LEOCropSubject(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOCropSubject",
            display_name="LEO Crop Subject",
            category=CATEGORY,
            description="Finds one person in photos or frames, cuts them out at their own resolution, and remembers "
            "where they were.",
            search_aliases=[
                "face crop",
                "crop face",
                "face detection",
                "find face",
                "bounding box crop",
                "crop by mask",
                "detect",
                "track subject",
            ],
            inputs=[
                io.Image.Input("image", tooltip="Photo, or frames of a clip, of any size."),
                io.BoundingBox.Input(
                    "boxes",
                    optional=True,
                    force_input=True,
                    tooltip="Where people are, from a detector or drawn by hand; without boxes or a mask, the node "
                    "finds faces itself.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="The subject's shape, and its place when no boxes are connected; one photo can take the "
                    "masks of a whole clip.",
                ),
                io.Float.Input(
                    "margin",
                    default=0.25,
                    optional=True,
                    min=0.0,
                    max=4.0,
                    step=0.01,
                    tooltip="Margin added on each side, as a fraction of the box; none is added to the whole picture.",
                ),
                io.Float.Input(
                    "aspect",
                    default=1.0,
                    optional=True,
                    min=0.0,
                    max=8.0,
                    step=0.01,
                    tooltip="Width divided by height of the crop, reached by enlarging the box; 1 is the square that "
                    "animators expect, 0 keeps the box as it is.",
                ),
                io.Combo.Input(
                    "border",
                    options=["edge", "reflect", "black"],
                    default="edge",
                    optional=True,
                    tooltip="What the crop shows where it extends beyond the picture.",
                ),
                io.Combo.Input(
                    "person",
                    options=PEOPLE,
                    default="automatic",
                    optional=True,
                    tooltip="Which of several people: automatic takes the largest, or the whole picture if there is "
                    "no face; or the largest, the nearest to a point, or one by number, then followed through a clip.",
                ),
                *choice_inputs(
                    "Number of the person, counted from 0, in the detector's order; faces that the node finds itself "
                    "are sorted from the largest."
                ),
                io.Combo.Input(
                    "track",
                    options=["still", "follow"],
                    default="still",
                    optional=True,
                    tooltip="For a clip: one still box (and shape) around all of the movement, or a smooth box that "
                    "follows the person.",
                ),
                io.Float.Input(
                    "smooth",
                    default=5.0,
                    optional=True,
                    min=0.0,
                    max=250.0,
                    step=0.5,
                    advanced=True,
                    tooltip="How many frames a following box is smoothed over; 0 follows every jolt.",
                ),
                io.Combo.Input(
                    "missing",
                    options=["hold", "interpolate", "pass through"],
                    default="hold",
                    optional=True,
                    tooltip="Frames without a detected person: hold the last box, interpolate to the next one, or "
                    "leave the frame unchanged.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The crop of every frame, pixel for pixel."),
                LeoCrop.Output(
                    "crop", tooltip="Where the crop was, for LEO Paste Back, LEO Render Video and LEO Motion Encoder."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        image,
        margin=0.25,
        aspect=1.0,
        border="edge",
        person="automatic",
        index=0,
        point_x=0.5,
        point_y=0.5,
        track="still",
        smooth=5.0,
        missing="hold",
        boxes=None,
        mask=None,
    ) -> io.NodeOutput:
        check_image(image)
        frames, height, width, _ = image.shape
        message = []
        if boxes is None and mask is None and person != "whole picture":
            boxes, found = find_boxes(image, person)
            message.append(found)
        pick = "largest" if person in ("automatic", "whole picture") else person
        crop = crop_subject(
            frames,
            (height, width),
            boxes,
            mask,
            pick=pick,
            index=index,
            point=(point_x, point_y),
            margin=margin,
            aspect=aspect,
            border=border,
            track=track,
            smooth=smooth,
            missing=missing,
        )
        # Allocated once: a list of cuts and its stack would hold the clip twice.
        cuts = torch.empty(frames, *crop.size, 3, dtype=image.dtype, device=image.device)
        for frame in range(frames):
            cuts[frame] = crop.cut(opaque(image[frame]), frame)
        absent = int(crop.missing.sum())
        message.insert(
            0,
            f"{crop.size[1]}x{crop.size[0]} of {width}x{height}"
            + (f", nobody found in {absent} of {frames} frames: {missing}" if absent else "")
            + (", its transparent parts on black" if is_transparent(image) else ""),
        )
        if boxes is None and mask is not None and covers(crop):
            message.append(BACKGROUND)
        show_status(cls, ". ".join(message))
        return io.NodeOutput(cuts, crop, ui=ui.PreviewImage(cuts[:1], cls=cls))


class LEOPasteBack(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOPasteBack",
            display_name="LEO Paste Back",
            category=CATEGORY,
            description="Puts rendered frames back into the photo or clip they were cropped from, with a soft edge; "
            "everything else stays untouched.",
            search_aliases=["uncrop", "composite", "stitch", "insert face", "feather"],
            inputs=[
                io.Image.Input("images", tooltip="Frames to put back, of any size."),
                LeoCrop.Input("crop", tooltip="The crop from LEO Crop Subject."),
                io.Image.Input(
                    "picture", tooltip="The photo that LEO Crop Subject was given, or frames of the same size."
                ),
                *paste_inputs(),
                io.Combo.Input(
                    "length",
                    options=["hold", "loop", "ping-pong", "cut"],
                    default="hold",
                    optional=True,
                    tooltip="What to do when one side has fewer frames: hold its last frame, loop it, play it back and "
                    "forth, or cut the longer one.",
                ),
            ],
            outputs=[io.Image.Output("images", tooltip="The picture with the subject replaced, one for each frame.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, images, crop: Crop, picture, feather=0.1, region="box", length="hold") -> io.NodeOutput:
        check_image(images)
        check_image(picture)
        rendered, behind = len(images), len(picture)
        paste = Paste(crop, feather, region)
        count = max(rendered, behind)
        if length == "cut" and behind > 1:
            count = min(rendered, behind)
        message = [f"{rendered} frames onto {behind}: {length}, {count} frames"] if behind not in (1, rendered) else []
        if is_transparent(picture):
            message.append("transparent parts of the picture are shown on black")
        if is_transparent(images):
            message.append("transparent parts of the images are pasted as black")
        if message:
            show_status(cls, "; ".join(message))
        policy = "hold" if length == "cut" else length
        result = torch.empty(
            count, *picture.shape[1:3], 3, dtype=mm.intermediate_dtype(), device=mm.intermediate_device()
        )
        progress = Progress(count)
        for frame in range(count):
            mm.throw_exception_if_processing_interrupted()
            place = continued_index(frame, behind, policy)
            base = opaque(picture[place])
            face = opaque(images[continued_index(frame, rendered, policy)])
            result[frame] = paste(base, face, place if behind > 1 else frame)
            progress.update(frame + 1, lambda at=frame: result[at])
        return io.NodeOutput(result)


NODES: list[type[io.ComfyNode]] = [LEOCropSubject, LEOPasteBack]
