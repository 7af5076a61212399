"""Rendering people without a display, with the exact flow back to the first frame.

Every vertex is drawn with its position in the present and in the first frame, so each fragment knows where its
surface point was. Shading, too, is computed for the first frame and carried along (`relight` mixes in the present),
since LEO's motion is a warp of the first frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from .assets import rotation
from .motion import CONTROLS, JOINTS, REACH, Motion, sample_motion
from .people import Figure, HumanLibrary

_VERTEX = """
#version 330
uniform mat4 camera;
in vec3 position; in vec3 normal; in vec3 first_position; in vec3 first_normal; in vec3 rest; in vec2 uv; in vec2 light;
out vec4 first; out vec3 now_normal; out vec3 then_normal; out vec3 surface; out vec2 texel; out vec2 lit;
void main() {
    gl_Position = camera * vec4(position, 1.0);
    first = camera * vec4(first_position, 1.0);
    now_normal = normal; then_normal = first_normal; surface = rest; texel = uv; lit = light;
}
"""

# `surface` names a surface point by its place on the resting body; the background gets a place no body reaches.
_SURFACE = """
#version 330
uniform sampler2D picture; uniform float cutout;
in vec3 surface; in vec2 texel;
out vec4 place;
void main() {
    if (texture(picture, texel).a < cutout) discard;
    place = vec4(surface, 1.0);
}
"""

_SHADE = """
#version 330
uniform sampler2D picture; uniform sampler2D first_surface; uniform float cutout;
uniform vec2 size; uniform vec3 key; uniform vec3 key_color; uniform vec3 sky; uniform vec3 floor_color;
uniform float relight; uniform vec2 gloss; uniform float wrap; uniform float dim;
in vec4 first; in vec3 now_normal; in vec3 then_normal; in vec3 surface; in vec2 texel; in vec2 lit;
layout(location = 0) out vec4 color;
layout(location = 1) out vec4 motion;

vec3 diffuse(vec3 n) {
    float k = max((dot(n, key) + wrap) / (1.0 + wrap), 0.0);
    return mix(floor_color, sky, 0.5 + 0.5 * n.y) * lit.x + key_color * k * lit.y;
}
float shine(vec3 n) { return gloss.x * pow(max(dot(n, normalize(key + vec3(0.0, 0.0, 1.0))), 0.0), gloss.y) * lit.y; }

void main() {
    vec4 base = texture(picture, texel);
    if (base.a < cutout) discard;
    vec3 now = normalize(now_normal), then = normalize(then_normal);
    vec3 linear = pow(base.rgb, vec3(2.2)) * dim;
    vec3 light = linear * mix(diffuse(then), diffuse(now), relight) + key_color * mix(shine(then), shine(now), relight);
    color = vec4(pow(clamp(light, 0.0, 1.0), vec3(1.0 / 2.2)), base.a);

    vec2 was = first.xy / first.w;
    vec2 at = (was * 0.5 + 0.5) * size - 0.5;
    ivec2 corner = ivec2(floor(at));
    float nearest = 1e9;
    for (int i = 0; i < 4; i++) {
        ivec2 cell = corner + ivec2(i & 1, i >> 1);
        if (all(greaterThanEqual(cell, ivec2(0))) && all(lessThan(cell, ivec2(size))))
            nearest = min(nearest, distance(texelFetch(first_surface, cell, 0).xyz, surface));
    }
    motion = vec4(was - (gl_FragCoord.xy / size * 2.0 - 1.0), nearest < 0.08 ? 1.0 : 0.0, 1.0);
}
"""

_SCREEN = """
#version 330
in vec2 corner;
void main() { gl_Position = vec4(corner, 0.0, 1.0); }
"""

_BACKGROUND = """
#version 330
uniform sampler2D picture; uniform sampler2D first_surface; uniform vec2 size;
layout(location = 0) out vec4 color;
layout(location = 1) out vec4 motion;
void main() {
    color = texture(picture, gl_FragCoord.xy / size);
    motion = vec4(0.0, 0.0, texelFetch(first_surface, ivec2(gl_FragCoord.xy), 0).w < 0.5 ? 1.0 : 0.0, 0.0);
}
"""

# A pixel takes the mean color of its samples and the motion of its center. Where its samples disagree on the motion by
# more than a pixel, no single displacement reproduces it, so it does not count as visible. The share of its samples
# that the person covers comes with it.
_RESOLVE = """
#version 330
uniform sampler2D samples; uniform sampler2D motions; uniform int factor; uniform float tolerance;
layout(location = 0) out vec4 color;
layout(location = 1) out vec4 motion;
void main() {
    ivec2 origin = ivec2(gl_FragCoord.xy) * factor;
    vec3 center = texelFetch(motions, origin + factor / 2, 0).xyz;
    vec4 sum = vec4(0.0);
    float seen = 0.0, covered = 0.0;
    for (int y = 0; y < factor; y++) for (int x = 0; x < factor; x++) {
        sum += texelFetch(samples, origin + ivec2(x, y), 0);
        vec4 m = texelFetch(motions, origin + ivec2(x, y), 0);
        seen += distance(m.xy, center.xy) < tolerance ? m.z : 0.0;
        covered += m.w;
    }
    float count = float(factor * factor);
    color = sum / count;
    motion = vec4(center.xy, seen >= 0.99 * count ? 1.0 : 0.0, covered / count);
}
"""

# Samples per pixel and axis; odd, so that one lies at the pixel's center.
_SAMPLES = 3

_KINDS = {
    # kind: (gloss strength and exponent, wrapped light, dimming, alpha cutout)
    "skin": ((0.05, 12.0), 0.25, 1.0, 0.0),
    "cloth": ((0.0, 1.0), 0.1, 1.0, 0.3),
    "teeth": ((0.05, 20.0), 0.3, 0.85, 0.3),
    "tongue": ((0.03, 20.0), 0.3, 0.5, 0.3),
    "eye": ((0.5, 90.0), 0.5, 0.95, 0.5),
    "brow": ((0.0, 1.0), 0.4, 1.0, 0.02),
    "lash": ((0.0, 1.0), 0.4, 1.0, 0.6),
    "hair": ((0.06, 10.0), 0.2, 1.0, 0.35),
}


@dataclass(frozen=True)
class Clip:
    """A rendered clip of T frames of H x W pixels.

    `frames` uint8 [T, H, W, 3]. `backward_flow` float16 [T, H, W, 2]: added to the identity grid (pixel centers,
    align_corners=False) it says where each pixel of frame t was in frame 0, x then y, image width and height being
    2. `visible` bool [T, H, W]: frame 0 shows that point. `controls` float32 [T, K] says what the person does
    (`motion.CONTROLS` of the framing). `coverage` uint8 [T, H, W] is the share of each pixel that the person covers,
    255 being all of it, and `backdrop` uint8 [H, W, 3] what the pictures show without the person.
    """

    frames: np.ndarray
    backward_flow: np.ndarray
    visible: np.ndarray
    controls: np.ndarray
    coverage: np.ndarray
    backdrop: np.ndarray
    fps: float


class Renderer:
    """An off-screen OpenGL 3.3 context (EGL). Raises OSError with what to install when there is none."""

    def __init__(self) -> None:
        try:
            import moderngl

            # the stub makes a dict of what is one of the settings
            self.context = moderngl.create_context(standalone=True, backend="egl")  # type: ignore[arg-type]
        except Exception as error:
            raise OSError(
                f"rendering people needs the package moderngl and an EGL driver (on Debian: libegl1, "
                f"libgl1-mesa-dri): {error}"
            ) from error
        self.context.gc_mode = "auto"
        self.depth_test, self.blend, self.nearest = moderngl.DEPTH_TEST, moderngl.BLEND, moderngl.NEAREST
        self.shade = self.context.program(_VERTEX, _SHADE)
        self.surface = self.context.program(_VERTEX, _SURFACE)
        self.background = self.context.program(_SCREEN, _BACKGROUND)
        self.resolve = self.context.program(_SCREEN, _RESOLVE)
        self.corners = self.context.buffer(np.array([-1, -1, 3, -1, -1, 3], dtype=np.float32).tobytes())

    def occlusion(
        self, figure: Figure, scene: Scene, positions: np.ndarray, normals: np.ndarray, key: np.ndarray
    ) -> np.ndarray:
        """How much of the sky and of the key light reaches each vertex: [V, 2] in [0, 1], from shadow maps along
        many directions."""
        size, center, radius = 320, scene.center, scene.radius
        rng = np.random.default_rng(0)
        count = np.arange(36) + 0.5
        height, angle = 1.0 - 1.25 * count / 36, np.pi * (1 + 5**0.5) * count
        flat = np.sqrt(1.0 - height**2)
        sky = np.stack([flat * np.sin(angle), height, flat * np.cos(angle)], -1)
        keys = key + rng.normal(0.0, 0.12, (10, 3))
        directions = np.concatenate([sky, keys / np.linalg.norm(keys, axis=1, keepdims=True)])
        target = self.context.framebuffer(
            [self.context.texture((size, size), 4, dtype="f4")], self.context.depth_renderbuffer((size, size))
        )
        scene.upload(positions, normals)
        light = np.zeros((len(positions), 2))
        total = np.full((len(positions), 2), 1e-3)
        for index, direction in enumerate(directions):
            side = np.cross([0.0, 1.0, 0.0] if abs(direction[1]) < 0.9 else [1.0, 0.0, 0.0], direction)
            side /= np.linalg.norm(side)
            view = np.stack([side, np.cross(direction, side), -direction]) / radius
            matrix = np.eye(4)
            matrix[:3, :3], matrix[:3, 3] = view, -view @ center
            target.use()
            target.clear(1e6, 1e6, 1e6, 0.0)
            self.context.enable(self.depth_test)
            self.surface["camera"].write(matrix.T.astype(np.float32).tobytes())
            scene.draw(self.surface)
            depth = np.frombuffer(target.read(components=1, attachment=-1, dtype="f4"), dtype=np.float32).reshape(
                size, size
            )
            local = (positions + 0.04 * normals) @ matrix[:3, :3].T + matrix[:3, 3]
            cell = ((local[:, :2] * 0.5 + 0.5) * size).astype(int)
            inside = ((cell >= 0) & (cell < size)).all(1)
            cell = cell.clip(0, size - 1)
            clear = ~inside | (depth[cell[:, 1], cell[:, 0]] * 2.0 - 1.0 > local[:, 2] - 0.05 / radius)
            column = 0 if index < len(sky) else 1
            facing = np.maximum(normals @ direction, 0.0) + (0.15 if column == 0 else 1.0)
            light[:, column] += facing * clear
            total[:, column] += facing
        light /= total
        for part in figure.parts:
            if part.kind in ("teeth", "tongue"):
                # The neutral mouth is shut; light falls on teeth and tongue when it opens.
                light[figure.triangles[part.first // 3 : (part.first + part.count) // 3]] = (0.6, 0.4)
        return light.astype(np.float32)


class Scene:
    """One figure's buffers on the device and the region (center [3], radius, decimeters) that the light is computed
    for."""

    def __init__(
        self, renderer: Renderer, figure: Figure, positions: np.ndarray, center: np.ndarray, radius: float
    ) -> None:
        context = self.context = renderer.context
        self.blend = renderer.blend
        self.center, self.radius = center, radius
        # What is far out of the picture in the neutral posture is not drawn at all.
        near = (np.linalg.norm(positions - center, axis=1) < 1.6 * radius)[figure.triangles].any(1)
        count = np.concatenate([[0], np.cumsum(near)])
        self.parts = [
            replace(
                p,
                first=3 * int(count[p.first // 3]),
                count=3 * int(count[(p.first + p.count) // 3] - count[p.first // 3]),
            )
            for p in figure.parts
        ]
        self.parts = [part for part in self.parts if part.count]
        corners = len(figure.rest)
        self.still = context.buffer(np.concatenate([figure.rest, figure.uv], 1).astype(np.float32).tobytes())
        self.light = context.buffer(np.ones((corners, 2), dtype=np.float32).tobytes())
        self.now = context.buffer(reserve=corners * 24)
        self.first = context.buffer(reserve=corners * 24)
        self.index = context.buffer(figure.triangles[near].tobytes())
        self.textures = []
        for part in self.parts:
            pixels = (part.texture * 255.0 + 0.5).astype(np.uint8)
            texture = context.texture(pixels.shape[1::-1], 4, pixels.tobytes())
            texture.build_mipmaps()
            self.textures.append(texture)
        layout = [
            (self.still, "3f 2f", "rest", "uv"),
            (self.light, "2f", "light"),
            (self.now, "3f 3f", "position", "normal"),
            (self.first, "3f 3f", "first_position", "first_normal"),
        ]
        self.arrays = {
            id(program): context.vertex_array(program, [(b, f, *n) for b, f, *n in _used(program, layout)], self.index)
            for program in (renderer.shade, renderer.surface)
        }

    def upload(self, positions: np.ndarray, normals: np.ndarray) -> None:
        """Set the present pose."""
        self.now.write(np.concatenate([positions, normals], 1).astype(np.float32).tobytes())

    def draw(self, program, target=None) -> None:
        """Draw every part with its texture and material. Eyebrows lie on the skin: they tint a shaded `target` and
        leave its motion alone."""
        for part, texture in zip(self.parts, self.textures, strict=True):
            if part.kind == "brow":
                if target is None:
                    continue
                target.color_mask = ((True,) * 4, (False,) * 4)
                self.context.enable(self.blend)
            gloss, wrap, dim, cutout = _KINDS[part.kind]
            for name, value in (("gloss", gloss), ("wrap", wrap), ("dim", dim), ("cutout", cutout)):
                if name in program:
                    program[name].value = value
            texture.use(0)
            self.arrays[id(program)].render(vertices=part.count, first=part.first)
            if part.kind == "brow":
                self.context.disable(self.blend)
                target.color_mask = ((True,) * 4, (True,) * 4)


def _used(program, layout):
    """The layout without the attributes that this program's compiler dropped, as padding."""
    for buffer, form, *names in layout:
        sizes = form.split()
        kept = [name for name in names if name in program]
        if kept:
            yield (
                buffer,
                " ".join(
                    size if name in program else f"{4 * int(size[0])}x" for size, name in zip(sizes, names, strict=True)
                ),
                *kept,
            )


@lru_cache(maxsize=1)
def _renderer() -> Renderer:
    return Renderer()


def render_clip(
    library: HumanLibrary,
    identity_seed: int,
    motion_seed: int,
    framing: str = "head",
    size: int = 128,
    frames: int = 64,
    fps: float = 15,
    settled: bool = False,
    relight: float = 0.0,
    turns: float = 1.0,
) -> Clip:
    """Render one person (from `identity_seed`) performing one motion (from `motion_seed`) in front of a still
    background.

    The same seeds give the same clip, and the same motion seed gives every identity the same joint rotations.
    Camera, light and background are drawn from both seeds. `settled` starts and ends the motion near neutral;
    `relight` in [0, 1] is the share of the shading that follows the room's light as the surface turns, 0 making the
    flow reproduce the frames exactly; `turns` scales how far the head turns.
    """
    person = library.sample_person(np.random.default_rng([identity_seed, 1]))
    figure = library.build(person)
    motion = sample_motion(library, motion_seed, framing, frames, fps, settled, turns)
    with _renderer().context:  # another renderer of this process may have made its own the current one
        return render(
            _renderer(),
            figure,
            motion,
            framing,
            size,
            fps,
            np.random.default_rng([identity_seed, motion_seed, 2]),
            relight,
        )


def render(
    renderer: Renderer,
    figure: Figure,
    motion: Motion,
    framing: str,
    size: int,
    fps: float,
    rng: np.random.Generator,
    relight: float = 0.0,
) -> Clip:
    """Render a figure's motion at `size` x `size` pixels; `rng` chooses camera, light and background."""
    context = renderer.context
    full = _SAMPLES * size
    head = figure.crown - figure.chin
    positions, normals = figure.pose(motion.neutral, np.zeros(3))
    skull = figure.rest[:, 1] > figure.chin
    offset = np.zeros(3) if framing == "body" else (positions - figure.rest)[skull].mean(0)
    camera, center, radius = _camera(figure, framing, head, offset, rng)
    key, colors = _light(rng)

    scene = Scene(renderer, figure, positions, center, radius)
    scene.light.write(renderer.occlusion(figure, scene, positions, normals, key).tobytes())
    scenery = context.texture(
        (size, size), 3, (background(rng, size) * 255 + 0.5).astype(np.uint8).tobytes(), alignment=1
    )

    surface = context.texture((full, full), 4, dtype="f4")
    color, flow = context.texture((full, full), 4), context.texture((full, full), 4, dtype="f4")
    for texture in (surface, color, flow):
        texture.filter = (renderer.nearest, renderer.nearest)
    depth = context.depth_renderbuffer((full, full))
    first_pass, shaded = context.framebuffer([surface], depth), context.framebuffer([color, flow], depth)
    small = context.framebuffer([context.texture((size, size), 4), context.texture((size, size), 4, dtype="f4")])
    screen = {
        id(p): context.vertex_array(p, [(renderer.corners, "2f", "corner")])
        for p in (renderer.background, renderer.resolve)
    }

    matrix = camera.T.astype(np.float32).tobytes()
    renderer.shade["camera"].write(matrix)
    renderer.surface["camera"].write(matrix)
    for name, value in (
        ("key", key),
        ("key_color", colors[0]),
        ("sky", colors[1]),
        ("floor_color", colors[2]),
        ("relight", relight),
        ("size", (full, full)),
        ("first_surface", 1),
    ):
        renderer.shade[name].value = value if isinstance(value, int | float) else tuple(value)
    renderer.background["size"].value, renderer.background["first_surface"].value = (full, full), 1
    renderer.resolve["factor"].value, renderer.resolve["motions"].value, renderer.resolve["tolerance"].value = (
        _SAMPLES,
        1,
        2.0 / size,
    )

    total = len(motion.rotations)
    frames = np.empty((total, size, size, 3), dtype=np.uint8)
    flows = np.empty((total, size, size, 2), dtype=np.float16)
    visible = np.empty((total, size, size), dtype=bool)
    coverage = np.empty((total, size, size), dtype=np.uint8)

    def shot(person: bool) -> np.ndarray:
        """One picture, uint8 [size, size, 3]; its motion stays in `small`."""
        shaded.use()
        shaded.clear()
        context.disable(renderer.depth_test)
        scenery.use(0)
        surface.use(1)
        screen[id(renderer.background)].render(vertices=3)
        context.enable(renderer.depth_test)
        if person:
            scene.draw(renderer.shade, shaded)
        small.use()
        context.disable(renderer.depth_test)
        color.use(0)
        flow.use(1)
        screen[id(renderer.resolve)].render(vertices=3)
        return np.frombuffer(small.read(components=3), dtype=np.uint8).reshape(size, size, 3)

    backdrop = shot(person=False)
    for t in range(total):
        positions, normals = figure.pose(motion.rotations[t], motion.root[t] * head)
        scene.upload(positions, normals)
        if t == 0:
            scene.first.write(np.concatenate([positions, normals], 1).astype(np.float32).tobytes())
            first_pass.use()
            first_pass.clear(1e6, 1e6, 1e6, 0.0)
            context.enable(renderer.depth_test)
            scene.draw(renderer.surface)
        frames[t] = shot(person=True)
        vector = np.frombuffer(small.read(components=4, attachment=1, dtype="f4"), dtype=np.float32).reshape(
            size, size, 4
        )
        flows[t], visible[t], coverage[t] = vector[..., :2], vector[..., 2] > 0.5, np.rint(255 * vector[..., 3])
    controls = _joint_controls(figure, motion, camera, head) if framing == "body" else motion.controls
    return Clip(frames, flows, visible, controls, coverage, backdrop, fps)


def _joint_controls(figure: Figure, motion: Motion, camera: np.ndarray, head: float) -> np.ndarray:
    """CONTROLS["body"] [T, 24]: where the joints are seen."""
    bones = [figure.bones.index(bone) for bone, *_ in JOINTS.values()]
    places = np.stack(
        [
            figure.place_bones(rotations, root * head)[1][bones]
            for rotations, root in zip(motion.rotations, motion.root, strict=True)
        ]
    )
    seen = np.concatenate([places, np.ones_like(places[..., :1])], -1) @ camera.T
    controls = (seen[..., :2] / seen[..., 3:]).reshape(len(places), -1) - np.array(CONTROLS["body"].rest)
    return (controls / REACH).astype(np.float32)


def _camera(
    figure: Figure, framing: str, head: float, offset: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """The clip-space matrix [4, 4] (image y downwards, w the depth), and the center and radius of what it sees."""
    if framing == "head":
        height = head / rng.uniform(0.52, 0.6)
        middle = figure.crown - rng.uniform(0.35, 0.4) * height
    elif framing == "upper":
        height = head * rng.uniform(3.2, 3.8)
        middle = figure.crown - 0.4 * height
    else:
        height = (figure.crown - figure.ground) * rng.uniform(1.2, 1.35)
        middle = 0.5 * (figure.crown + figure.ground)
    center = np.array([0.0, middle, 0.0]) + offset + height * rng.uniform(-0.03, 0.03, 3)
    zoom = 1.0 / np.tan(np.radians(rng.uniform(16.0, 26.0)) / 2.0)
    yaw, pitch = np.radians(rng.uniform(-10.0, 10.0)), np.radians(rng.uniform(-6.0, 6.0))
    view = rotation(np.array([pitch, 0.0, 0.0])) @ rotation(np.array([0.0, yaw, 0.0]))
    distance = 0.5 * height * zoom
    near, far = 0.3 * distance, 3.0 * distance
    project = np.array(
        [
            [zoom, 0, 0, 0],
            [0, -zoom, 0, 0],
            [0, 0, (near + far) / (near - far), 2 * near * far / (near - far)],
            [0, 0, -1, 0],
        ]
    )
    place = np.eye(4)
    place[:3, :3], place[:3, 3] = view, -view @ center - np.array([0.0, 0.0, distance])
    return project @ place, center, 0.9 * height


def _light(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Unit direction toward the key light and the colors [3, 3] (linear RGB) of key, sky and floor."""
    azimuth, elevation = np.radians(rng.uniform(-60.0, 60.0)), np.radians(rng.uniform(12.0, 50.0))
    key = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    warmth = rng.uniform(-0.12, 0.12)
    balance = np.array([1.0 + warmth, 1.0, 1.0 - warmth])
    strength = rng.uniform(0.55, 1.0)
    fill = rng.uniform(0.75, 1.0) - 0.45 * strength
    return key, np.stack([strength * balance, fill * (2.0 - balance), 0.65 * fill * np.array([1.03, 1.0, 0.96])])


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A procedural backdrop [size, size, 3] in [0, 1]: a gradient with clouds of noise, out-of-focus lights, stripes
    or panels."""
    y, x = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    tint = rng.uniform(0.05, 0.95, 3)
    # Rooms are grayer than random colors.
    colors = tint + rng.uniform(0.1, 0.8) * (tint.mean() - tint) + rng.normal(0.0, 0.1, (3, 3))
    angle = rng.uniform(0, 2 * np.pi)
    ramp = 0.5 + 0.35 * (x * np.cos(angle) + y * np.sin(angle))
    picture = colors[0] + (colors[1] - colors[0]) * ramp[..., None]
    kind = rng.choice(["plain", "noise", "bokeh", "stripes", "panels"])
    if kind == "noise":
        for cells in (3, 6, 12, 24):
            cloud = rng.uniform(0.15, 0.5) / cells**0.6 * (_value_noise(rng, cells, size) - 0.5)
            picture = picture + cloud[..., None] * (colors[2] - colors[0] + 0.3)
    elif kind == "bokeh":
        for _ in range(rng.integers(8, 26)):
            cx, cy, radius = rng.uniform(-1.1, 1.1), rng.uniform(-1.1, 1.1), rng.uniform(0.06, 0.3)
            disc = np.clip((radius - np.hypot(x - cx, y - cy)) / 0.03, 0, 1)[..., None]
            picture = picture + disc * rng.uniform(0.08, 0.3) * (rng.uniform(0.2, 1.0, 3) - 0.35)
    elif kind == "stripes":
        across = x * np.cos(angle) + y * np.sin(angle)
        wave = np.clip(3.0 * np.sin(rng.uniform(4.0, 22.0) * across + rng.uniform(0, 6)), -1, 1)
        picture = picture + (0.5 + 0.5 * wave)[..., None] * 0.5 * (colors[2] - picture)
    elif kind == "panels":
        for _ in range(rng.integers(3, 9)):
            cx, cy, wide, high = *rng.uniform(-1, 1, 2), *rng.uniform(0.1, 0.6, 2)
            inside = np.clip((wide - np.abs(x - cx)) / 0.015, 0, 1) * np.clip((high - np.abs(y - cy)) / 0.015, 0, 1)
            picture = picture + inside[..., None] * rng.uniform(0.3, 0.9) * (rng.uniform(0.05, 0.95, 3) - picture)
    if kind != "noise":
        picture = picture + 0.06 * (_value_noise(rng, 9, size) - 0.5)[..., None]
    return picture.clip(0.0, 1.0)


def _value_noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Smoothly interpolated random values on a grid of `cells` x `cells`: [size, size] in [0, 1]."""
    grid = rng.random((cells + 1, cells + 1))
    at = np.linspace(0, cells, size, endpoint=False)
    low = at.astype(int)
    part = at - low
    part = part * part * (3 - 2 * part)
    rows = grid[low] + part[:, None] * (grid[low + 1] - grid[low])
    return rows[:, low] + part * (rows[:, low + 1] - rows[:, low])
