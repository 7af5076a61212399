"""Between ComfyUI's IMAGE [B, H, W, C] in 0..1 and the animator's pictures [N, 3, S, S] in -1..1."""

import torch
import torch.nn.functional as F

SMALLEST_SIDE = 16


def check_image(image: torch.Tensor) -> None:
    """Raise ValueError unless an IMAGE holds at least one picture that an animator can read."""
    count, height, width, channels = image.shape
    if count == 0:
        raise ValueError("The image batch is empty. Connect at least one picture.")
    if min(height, width) < SMALLEST_SIDE:
        raise ValueError(
            f"The picture is {width}x{height} pixels; an animator needs at least {SMALLEST_SIDE} on each "
            f"side. Connect a picture in which a person can be seen."
        )
    if channels not in (1, 3, 4):
        raise ValueError(f"The picture has {channels} channels; expected gray, RGB or RGBA.")


def one_picture(image: torch.Tensor) -> tuple[torch.Tensor, str | None]:
    """The first picture [1, H, W, C] of an IMAGE that an animator can read, and a message if there are more.

    A batch is usually the frames of a clip, and its first frame shows the person to animate. For several people, users
    connect a list, and ComfyUI runs the node once for each.
    """
    check_image(image)
    if image.shape[0] == 1:
        return image, None
    return image[:1], (
        f"the first of {image.shape[0]} pictures is used; to process every picture, add Rebatch Images with a batch "
        f"size of 1 before this node"
    )


def resize(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """[N, C, h, w] -> [N, C, *size], bilinear and antialiased."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps.float(), size, mode="bilinear", antialias=True, align_corners=False)


def as_image(frame: torch.Tensor) -> torch.Tensor:
    """Pixels of a decoded frame (uint8), or an IMAGE's as they are -> 0..1."""
    return frame.float() / 255 if frame.dtype == torch.uint8 else frame


def to_bytes(picture: torch.Tensor) -> torch.Tensor:
    """Pixels in 0..1 -> uint8 on the CPU."""
    return (picture.float() * 255).round().clamp(0, 255).to("cpu", torch.uint8)


def opaque(image: torch.Tensor) -> torch.Tensor:
    """IMAGE of any of its kinds [..., 1, 3 or 4 channels] -> RGB [..., 3]: gray repeated, transparency shown on
    black."""
    if image.shape[-1] == 4:
        return image[..., :3] * image[..., 3:]
    return image.expand(*image.shape[:-1], 3)


def is_transparent(image: torch.Tensor) -> bool:
    """Whether an IMAGE has an alpha channel, and something shows through it."""
    return image.shape[-1] == 4 and bool((image[..., 3] < 1).any())


def to_animator(image: torch.Tensor, size: int) -> torch.Tensor:
    """IMAGE -> animator pictures: transparency on black, gray repeated, resized (antialiased) to size x size
    whatever the aspect, so that the result can be stretched back onto the same place."""
    pictures = opaque(image).movedim(-1, 1).float()  # BHWC -> BCHW
    pictures = resize(pictures, (size, size))
    if not torch.isfinite(pictures).all():
        raise ValueError("The picture contains NaN or infinite pixels. Check the node that produces it.")
    return pictures.clamp(0, 1) * 2 - 1


def to_image(pictures: torch.Tensor) -> torch.Tensor:
    """Animator pictures -> IMAGE values: [N, 3, H, W] about -1..1 -> [N, H, W, 3] in 0..1.

    :raises ValueError: pixels that are not finite, as damaged weights paint them.
    """
    pictures = pictures.float()
    if not torch.isfinite(pictures).all():
        raise ValueError(
            "The animator produced pixels that are NaN or infinite. Its file is damaged or its training diverged: "
            "download it again."
        )
    return (pictures * 0.5 + 0.5).clamp(0, 1).movedim(1, -1)
