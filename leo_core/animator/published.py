"""The layouts of the weights that the authors of LIA and LIA-X released, recognized by their keys and shapes."""

import re

from .config import AnimatorConfig, lia

# Published keys that inference never reads: fixed blur kernels, noise gains, LIA's unused 4x4 RGB head.
UNUSED = re.compile(r".*\.kernel|.*\.noise\.weight|dec\.to_rgb1\..*")


def styled_names(target: str, source: str) -> dict[str, str]:
    return {
        f"{target}.conv.weight": f"{source}.conv.weight",
        f"{target}.modulation.weight": f"{source}.conv.modulation.weight",
        f"{target}.modulation.bias": f"{source}.conv.modulation.bias",
        f"{target}.bias": f"{source}.activate.bias",
    }


def conv_names(target: str, source: str, first: int = 0) -> dict[str, str]:
    """A published convolution keeps weight and activation bias as neighbors in a Sequential, from index first."""
    return {f"{target}.weight": f"{source}.{first}.weight", f"{target}.bias": f"{source}.{first + 1}.bias"}


def down_names(target: str, source: str) -> dict[str, str]:
    return {
        **conv_names(f"{target}.conv1", f"{source}.conv1"),
        **conv_names(f"{target}.conv2", f"{source}.conv2", 1),
        f"{target}.skip.weight": f"{source}.skip.1.weight",
    }


def head_names(level: int, flow: str, rgb: str) -> dict[str, str]:
    flow_head, rgb_head = f"flow_generator.levels.{level}.head", f"decoder.levels.{level}.rgb"
    return {
        f"{flow_head}.conv.weight": f"{flow}.conv.weight",
        f"{flow_head}.bias": f"{flow}.bias",
        f"{flow_head}.modulation.weight": f"{flow}.conv.modulation.weight",
        f"{flow_head}.modulation.bias": f"{flow}.conv.modulation.bias",
        **conv_names(f"{rgb_head}.conv", f"{rgb}.conv"),
        f"{rgb_head}.bias": f"{rgb}.bias",
    }


def shared_names(stem: str, blocks: list[str], code: str, head: str, depth: int) -> dict[str, str]:
    """Encoder, motion head, dictionary and the 4x4 start of the generator, which differ in key names alone."""
    names = {
        **conv_names("encoder.stem", stem),
        "encoder.code.weight": f"{code}.weight",
        "dictionary.weight": "dec.direction.weight",
        "flow_generator.constant": "dec.input.input",
        **styled_names("flow_generator.stem", "dec.conv1"),
    }
    for i, block in enumerate(blocks):
        names |= down_names(f"encoder.blocks.{i}", block)
    for i in range(depth):
        names |= {f"motion_head.layers.{i}.{kind}": f"{head}.{i}.{kind}" for kind in ("weight", "bias")}
    return names


def count(shapes: dict, pattern: str) -> int:
    """How many of pattern.format(0), pattern.format(1), .. are keys of shapes."""
    i = 0
    while pattern.format(i) in shapes:
        i += 1
    return i


def published_channels(shapes: dict, stem: str, blocks: list[str]) -> dict[int, int]:
    widths = [shapes[f"{stem}.0.weight"][0]] + [shapes[f"{block}.conv2.1.weight"][0] for block in blocks]
    return {4 << i: width for i, width in enumerate(reversed(widths))}


def recognize_lia(shapes: dict) -> tuple[AnimatorConfig, dict[str, str]]:
    """Configuration and canonical name -> published key of a LIA state dict, from its keys and shapes."""
    net = "enc.net_app.convs"
    depth = count(shapes, "enc.fc.{}.weight")
    levels = count(shapes, "dec.to_flows.{}.bias")
    blocks = [f"{net}.{i + 1}" for i in range(levels)]
    config = lia(
        4 << levels,
        published_channels(shapes, f"{net}.0", blocks),
        shapes[f"{net}.{levels + 1}.weight"][0],
        shapes["dec.direction.weight"][1],
        depth,
    )
    names = shared_names(f"{net}.0", blocks, f"{net}.{levels + 1}", "enc.fc", depth)
    for i in range(levels):
        level = f"flow_generator.levels.{i}"
        names |= styled_names(f"{level}.up", f"dec.convs.{2 * i}")
        names |= styled_names(f"{level}.refine.0", f"dec.convs.{2 * i + 1}")
        names |= head_names(i, f"dec.to_flows.{i}", f"dec.to_rgbs.{i}")
    return config, names


def recognize_liax(shapes: dict) -> tuple[AnimatorConfig, dict[str, str]]:
    """Configuration and canonical name -> published key of a LIA-X state dict, from its keys and shapes."""
    net = "enc.enc_2r"
    blocks = [
        f"{net}.{name}.0" if name != "block_512" else f"{net}.{name}"
        for name in (*(f"block{i}" for i in range(2, 8)), "block_512")
    ]
    depth = count(shapes, "enc.enc_r2t.{}.weight")
    scales = ("_512", *range(2, 8))  # the published names of the scales 8, 16, .. 512
    channels = published_channels(shapes, f"{net}.block1", blocks)
    config = AnimatorConfig(
        "LIA-X",
        512,
        shapes[f"{net}.block8.weight"][0],
        shapes["dec.direction.weight"][1],
        channels,
        depth,
        align_corners=True,
        widen_first=True,
        refine_blocks=count(shapes, "dec.conv2_2.{}.gamma"),
        rgb_blocks=count(shapes, "dec.conv2_2_rgb.{}.conv1.0.weight"),
    )
    names = shared_names(f"{net}.block1", blocks, f"{net}.block8", "enc.enc_r2t", depth)
    for i, scale in enumerate(scales):
        level, picture = f"flow_generator.levels.{i}", f"decoder.levels.{i}"
        names |= styled_names(f"{level}.up", f"dec.conv{scale}_1")
        for j in range(config.refine_blocks):
            target, source = f"{level}.refine.{j}", f"dec.conv{scale}_2.{j}"
            names |= styled_names(f"{target}.conv1", f"{source}.conv1")
            names |= styled_names(f"{target}.conv2", f"{source}.conv2")
            names |= {f"{target}.{part}": f"{source}.{part}" for part in ("gamma", "norm.weight", "norm.bias")}
        if i:
            names |= conv_names(f"{picture}.up", f"dec.conv{scale}_2_up", 1)
        for j in range(config.rgb_blocks):
            for conv in ("conv1", "conv2"):
                names |= conv_names(f"{picture}.residuals.{j}.{conv}", f"dec.conv{scale}_2_rgb.{j}.{conv}")
        names |= head_names(i, f"dec.flow{scale}", f"dec.rgb{scale}")
    return config, names
