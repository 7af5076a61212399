"""Drawing puppets without a display, with the exact flow back to a clip's first frame.

Every vertex is drawn with its position in the present and in the first frame, so each fragment knows where its surface
point was, and a map of the first frame's surface says whether it could be seen there. All of it is our choice.
"""

import atexit
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ...face import measure
from .puppet import ACTIONS, DARK, MOUTH, TEETH_ABOVE, TEETH_BELOW, TONGUE, Pose, Puppet, regions

_SAMPLES = 2  # per pixel and axis
_NEAR = 2.0  # pixels of the photo by which the first frame's surface may miss a point that it shows

_VERTEX = """
#version 330
uniform vec2 size; uniform vec2 depth;
in vec3 position; in vec3 first; in vec2 texture_at; in vec2 kind_part; in float light;
out vec2 was; out vec2 texel; out float lit; flat out vec2 which;
vec4 place(vec3 p) { return vec4(p.xy / size * 2.0 - 1.0, (p.z - depth.x) / depth.y * 2.0 - 1.0, 1.0); }
void main() {
    gl_Position = place(position); was = first.xy; texel = texture_at; lit = light; which = kind_part;
}
"""

_COLOR = """
vec4 color(vec2 texel, vec2 which) {
    if (which.x < 0.5) {
        vec2 at = clamp(texel / photo_size, 0.0, 1.0);
        vec4 c = texture(photo, at);
        return c;
    }
    return texture(mouth, texel);
}
"""

_SURFACE = (
    """
#version 330
uniform sampler2D photo; uniform sampler2D mouth; uniform vec2 photo_size;
in vec2 was; in vec2 texel; in float lit; flat in vec2 which;
out vec4 place;
"""
    + _COLOR
    + """
void main() {
    if (color(texel, which).a < 0.3) discard;
    place = vec4(texel * (which.x < 0.5 ? vec2(1.0) : photo_size), which.y, 1.0);
}
"""
)

_SHADE = (
    """
#version 330
uniform sampler2D photo; uniform sampler2D mouth; uniform sampler2D first_surface; uniform sampler2D backdrop;
uniform vec2 photo_size; uniform vec2 size; uniform vec2 screen; uniform float near;
in vec2 was; in vec2 texel; in float lit; flat in vec2 which;
layout(location = 0) out vec4 shade;
layout(location = 1) out vec4 motion;
"""
    + _COLOR
    + """
void main() {
    vec4 c = color(texel, which);
    if (c.a < 0.08) discard;
    vec3 behind = texture(backdrop, gl_FragCoord.xy / screen).rgb;
    shade = vec4(mix(behind, clamp(c.rgb * lit, 0.0, 1.0), c.a), c.a);
    vec2 at = was / size * screen - 0.5;
    vec3 named = vec3(texel * (which.x < 0.5 ? vec2(1.0) : photo_size), which.y);
    float nearest = 1e9;
    for (int i = 0; i < 4; i++) {
        ivec2 cell = ivec2(floor(at)) + ivec2(i & 1, i >> 1);
        if (all(greaterThanEqual(cell, ivec2(0))) && all(lessThan(cell, ivec2(screen)))) {
            vec4 there = texelFetch(first_surface, cell, 0);
            if (there.w > 0.5 && abs(there.z - named.z) < 0.5) nearest = min(nearest, distance(there.xy, named.xy));
        }
    }
    vec2 now = gl_FragCoord.xy / screen;
    motion = vec4(2.0 * (was / size - now), nearest < near ? 1.0 : 0.0, 1.0);
}
"""
)


@dataclass(frozen=True)
class Portrait:
    """A photo that can be moved.

    :param photo: [P, P, 3] uint8; person: [P, P] float32 in 0..1, how far the person covers a pixel; landmarks:
        [478, 3] pixels.
    """

    photo: np.ndarray
    person: np.ndarray
    landmarks: np.ndarray

    @property
    def backdrop(self) -> np.ndarray:
        """The photo without the person, filled from what is around them, [P, P, 3] uint8."""
        return fill_behind(self.photo, self.person)


@dataclass(frozen=True)
class Look:
    """What a clip draws once: colors of the mouth, light, blur and noise.

    :param enamel, inside, tongue: RGB in 0..1; teeth: how far teeth below and above show, 0..1 each.
    :param light: direction [3] from which light comes in the head's frame, and shading: how much it matters, 0..0.3.
    """

    enamel: np.ndarray
    inside: np.ndarray
    tongue: np.ndarray
    teeth: tuple[float, float]
    light: np.ndarray
    shading: float


@dataclass(frozen=True)
class PortraitClip:
    """T frames of S x S pixels, as `humans.render.Clip`, and ``regions`` [T, S, S] uint8: 255 where mouth and eyes are.

    Real clips have neither coverage nor backdrop.
    """

    frames: np.ndarray
    backward_flow: np.ndarray
    visible: np.ndarray
    controls: np.ndarray
    coverage: np.ndarray | None
    backdrop: np.ndarray | None
    regions: np.ndarray


@dataclass(frozen=True)
class Mesh:
    """What is drawn: texture coordinates [V, 2], kinds [V] and parts [V] of its vertices and triangles [F, 3] int32,
    as a `Puppet` has."""

    texture: np.ndarray
    kind: np.ndarray
    part: np.ndarray
    triangles: np.ndarray


def fill_behind(photo: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Spread what is around a person over their place, from near to far."""
    side = 64
    small = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    around = cv2.resize(cv2.dilate(person, np.ones((9, 9))), (side, side), interpolation=cv2.INTER_AREA)
    known = (around < 0.1).astype(np.float32)
    fill, total = small * known[..., None], known.copy()
    for sigma in (1, 2, 4, 8, 16, 32):
        weight = cv2.GaussianBlur(known, (0, 0), sigma)
        color = cv2.GaussianBlur(small * known[..., None], (0, 0), sigma) / np.maximum(weight, 1e-4)[..., None]
        take = (1 - total) * np.clip(np.asarray(weight) * 8, 0, 1)
        fill += take[..., None] * color
        total += take
    fill += (1 - total)[..., None] * small.mean((0, 1))
    filled = cv2.resize(fill, photo.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    cover = cv2.GaussianBlur(cv2.dilate(person, np.ones((7, 7))), (0, 0), 2)[..., None]
    return np.clip(photo * (1 - cover) + filled * cover, 0, 255).astype(np.uint8)


def mouth_texture(look: Look, side: int = 128) -> np.ndarray:
    """Teeth above, teeth below, a tongue and the dark, [side, side, 4] in 0..1."""
    picture = np.zeros((side, side, 4), np.float32)

    def box(part):
        left, top, right, bottom = (round(value * side) for value in part)
        return slice(top, bottom), slice(left, right)

    for part, shown, widths, flip in (
        (TEETH_ABOVE, look.teeth[0], (0.8, 1, 0.95, 0.85, 0.9), False),
        (TEETH_BELOW, look.teeth[1], (0.75, 0.75, 0.75, 0.85, 0.9), True),
    ):
        view = picture[box(part)]
        height, width = view.shape[:2]
        edges = np.cumsum([0, widths[1], widths[2], widths[3], widths[4], widths[0]])
        edges = edges / edges[-1]
        u = np.abs(np.linspace(-1, 1, width))[None]
        v = np.linspace(0, 1, height)[:, None]
        v = 1 - v if flip else v
        gap = np.min(np.abs(u[..., None] - edges), -1) * width / 2
        bright = (0.75 + 0.25 * np.clip(gap / 1.5, 0, 1)) * (1 - 0.55 * u**2) * (0.72 + 0.28 * np.clip(v * 1.6, 0, 1))
        end = 1 - 0.12 * np.clip(1 - gap / 2, 0, 1) - 0.1 * u**2
        view[..., :3] = bright[..., None] * look.enamel
        view[..., 3] = (v < end * shown) * (u < 0.97)
    view = picture[box(TONGUE)]
    v, u = np.mgrid[-1 : 1 : view.shape[0] * 1j, -1 : 1 : view.shape[1] * 1j]
    view[..., :3] = (
        look.tongue
        * (0.65 + 0.3 * np.clip(1 - u**2 - (v - 0.2) ** 2, 0, 1) - 0.12 * np.exp(-((u / 0.08) ** 2)))[..., None]
    )
    view[..., 3] = u**2 + np.clip(-v, 0, 1) ** 2 < 0.95
    left, top, right, bottom = DARK
    picture[round((top - 0.05) * side) :, round((left - 0.05) * side) :] = (*look.inside, 1)
    return np.clip(picture, 0, 1)


class PortraitRenderer:
    """An off-screen OpenGL 3.3 context (EGL).

    :raises OSError: there is none; says what to install.
    """

    def __init__(self) -> None:
        try:
            import moderngl

            self.context = moderngl.create_context(standalone=True, backend="egl")  # type: ignore[arg-type]  # its stub
        except Exception as error:
            raise OSError(
                "rendering portraits needs the package moderngl and an EGL driver (on Debian: libegl1, "
                f"libgl1-mesa-dri): {error}"
            ) from error
        self.gl = moderngl
        self.context.gc_mode = "auto"
        self.shade = self.context.program(_VERTEX, _SHADE)
        self.surface = self.context.program(_VERTEX, _SURFACE)

    def render(
        self, portrait: Portrait, puppet: Puppet, pose: Pose, look: Look, size: int, backdrop: np.ndarray
    ) -> PortraitClip:
        """Draw poses at size x size pixels; flow leads to the first of them.

        :param backdrop: [P, P, 3] uint8 behind the person.
        """
        vertices, landmarks = puppet.posed(pose)
        rgba = np.dstack([portrait.photo, np.round(portrait.person * 255).astype(np.uint8)])
        frames, flow, visible, coverage = self._draw(
            puppet, vertices, _lighting(puppet, vertices, pose, look), rgba, mouth_texture(look), size, backdrop
        )
        ground = cv2.resize(backdrop, (size, size), interpolation=cv2.INTER_AREA)
        source = portrait.photo.shape[0]
        return PortraitClip(
            frames, flow, visible, measure(landmarks, source), coverage, ground, regions(landmarks, size, size / source)
        )

    def flow(self, mesh: Mesh, vertices: np.ndarray, photo: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Flow of a mesh alone, whose vertices are known.

        :param vertices: [T, V, 3] in pixels of the first frame, photo [P, P, 3] uint8.
        :return: displacement to the first frame [T, size, size, 2] float16, and [T, size, size] bool: where the mesh
            shows points that the first frame shows too.
        """
        rgba = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
        _, flow, visible, coverage = self._draw(
            mesh, vertices, np.ones(vertices.shape[:2]), rgba, np.zeros((1, 1, 4), np.float32), size, photo
        )
        return flow, visible & (coverage == 255)

    def _draw(
        self,
        mesh: Mesh | Puppet,
        vertices: np.ndarray,
        light: np.ndarray,
        rgba: np.ndarray,
        mouth: np.ndarray,
        size: int,
        backdrop: np.ndarray,
    ) -> list[np.ndarray]:
        """Frames, flow, visibility and coverage, as in `PortraitClip`, of a mesh drawn at vertices [T, V, 3] with
        light [T, V]."""
        context, gl = self.context, self.gl
        source, full = rgba.shape[0], _SAMPLES * size
        textures = [context.texture((source, source), 4, np.ascontiguousarray(rgba).tobytes())]
        textures.append(context.texture(mouth.shape[1::-1], 4, (mouth * 255).astype(np.uint8).tobytes()))
        target = [context.texture((full, full), 4, dtype="f1"), context.texture((full, full), 4, dtype="f4")]
        buffer = context.framebuffer(target, context.depth_renderbuffer((full, full)))
        place = context.texture((full, full), 4, dtype="f4")
        place.filter = gl.NEAREST, gl.NEAREST
        ground = context.texture((source, source), 3, np.ascontiguousarray(backdrop).tobytes(), alignment=1)
        for number, texture in enumerate([*textures, place, ground]):
            texture.repeat_x = texture.repeat_y = False
            texture.use(number)
        now = context.buffer(reserve=vertices[0].size * 4)
        first = context.buffer(vertices[0].astype(np.float32).tobytes())
        shine = context.buffer(reserve=vertices.shape[1] * 4)
        still = context.buffer(
            np.concatenate([mesh.texture, np.stack([mesh.kind, mesh.part], 1)], 1).astype(np.float32).tobytes()
        )
        index = context.buffer(mesh.triangles.tobytes())
        depth = (float(vertices[..., 2].min()) - 1, float(np.ptp(vertices[..., 2])) + 2)
        arrays = []
        for program in (self.surface, self.shade):
            layout = [
                (now, "3f", "position"),
                (first, "3f", "first"),
                (still, "2f 2f", "texture_at", "kind_part"),
                (shine, "1f", "light"),
            ]
            arrays.append(context.vertex_array(program, list(_used(program, layout)), index))
            for name, value in (
                ("photo", 0),
                ("mouth", 1),
                ("first_surface", 2),
                ("backdrop", 3),
                ("photo_size", (source, source)),
                ("size", (source, source)),
                ("depth", depth),
                ("screen", (full, full)),
                ("near", _NEAR),
            ):
                if name in program:
                    program[name].value = value
        context.enable(gl.DEPTH_TEST | gl.CULL_FACE)
        context.front_face = "ccw"
        now.write(vertices[0].astype(np.float32).tobytes())
        surface = context.framebuffer([place], context.depth_renderbuffer((full, full)))
        surface.use()
        surface.clear(0.0, 0.0, 0.0, 0.0)
        arrays[0].render()
        buffer.use()
        behind = cv2.resize(backdrop, (full, full), interpolation=cv2.INTER_LINEAR)
        seen = np.frombuffer(surface.read(components=4, dtype="f4"), np.float32).reshape(full, full, 4)[..., 3] < 0.5
        rows = []
        for t in range(len(vertices)):
            now.write(vertices[t].astype(np.float32).tobytes())
            shine.write(light[t].astype(np.float32).tobytes())
            buffer.clear(0.0, 0.0, 0.0, 0.0)
            arrays[1].render()
            shade = np.frombuffer(buffer.read(components=4, dtype="f1"), np.uint8).reshape(full, full, 4)
            motion = np.frombuffer(buffer.read(components=4, attachment=1, dtype="f4"), np.float32).reshape(
                full, full, 4
            )
            rows.append(_resolve(shade, motion, behind, seen))
        frames, flow, visible, coverage = (np.stack(column) for column in zip(*rows, strict=True))
        return [frames, flow.astype(np.float16), visible, coverage]


def _resolve(shade: np.ndarray, motion: np.ndarray, behind: np.ndarray, seen: np.ndarray):
    """One frame's samples [2S, 2S, ...] as pixels: color, flow of what the first frame shows, visibility, coverage."""
    empty = motion[..., 3] < 0.5
    color = np.where(empty[..., None], behind, shade[..., :3])
    known = np.where(empty, seen, motion[..., 2] > 0.5).astype(np.float32)
    flow = motion[..., :2] * (known * ~empty)[..., None]
    half = color.shape[0] // _SAMPLES

    def mean(maps: np.ndarray) -> np.ndarray:
        return maps.reshape(half, _SAMPLES, half, _SAMPLES, -1).mean((1, 3))

    weight = mean(known)[..., 0]
    # Where samples disagree by more than a pixel, no single displacement reproduces the pixel.
    spread = mean(np.square(flow).sum(-1))[..., 0] * weight - np.square(mean(flow)).sum(-1)
    visible = (weight > 0.99) & (spread < (2 / half) ** 2)
    coverage = mean(np.where(empty, 0, shade[..., 3].astype(np.float32)))[..., 0]
    return (
        np.round(mean(color)).astype(np.uint8),
        mean(flow) / np.maximum(weight, 1e-3)[..., None],
        visible,
        np.round(coverage).astype(np.uint8),
    )


def _lighting(puppet: Puppet, vertices: np.ndarray, pose: Pose, look: Look) -> np.ndarray:
    """Factors [T, V]: a light that stays in the room while the head turns, relative to the photo's own."""
    normals = puppet.rest * [1.0, 0.8, 1.0] - np.array([0, 0, 0.55])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    turned = np.einsum("tij,vj->tvi", pose.head.rotation, normals)
    before = normals @ puppet.head.rotation[0].T
    return 1 + look.shading * (turned - before) @ look.light * puppet.follow


def _used(program, layout):
    """The layout without attributes that this program's compiler dropped."""
    for buffer, form, *names in layout:
        sizes = form.split()
        if any(name in program for name in names):
            form = " ".join(
                size if name in program else f"{4 * int(size[0])}x" for size, name in zip(sizes, names, strict=True)
            )
            yield buffer, form, *(name for name in names if name in program)


@lru_cache(maxsize=1)
def renderer() -> PortraitRenderer:
    """The one renderer of this process."""
    # Freed before the interpreter takes its modules apart, which moderngl needs to free it.
    atexit.register(renderer.cache_clear)
    return PortraitRenderer()


__all__ = [
    "ACTIONS",
    "MOUTH",
    "Look",
    "Mesh",
    "Portrait",
    "PortraitClip",
    "PortraitRenderer",
    "fill_behind",
    "renderer",
]
