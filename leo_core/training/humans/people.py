"""People: which assets and shapes one person is made of, and the posed mesh that results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path

import numpy as np

from .assets import Fit, Mesh, Rig, read_bvh, read_mhclo, read_obj, read_rig, read_target, read_texture

# Facial and bodily details that vary from person to person, by folder of `targets/`. Left/right pairs move together;
# targets that only displace a whole part (which the macro shapes already place) and the caricatures are left out.
_DETAIL_FOLDERS = ("head", "forehead", "eyebrows", "eyes", "nose", "cheek", "mouth", "chin", "ears", "neck")
_DETAILS_LEFT_OUT = (
    "head-trans",
    "head-age",
    "neck-trans",
    "measure-",
    "ear-shape",
    "ear-wing",
    "eye-push",
    "eye-scale",
    "mouth-trans",
    "ear-rot",
)
_OPPOSITES = (
    ("decr", "incr"),
    ("down", "up"),
    ("in", "out"),
    ("backward", "forward"),
    ("concave", "convex"),
    ("compress", "uncompress"),
)
_HEAD_SHAPES = ("diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular")

# Hair colors in display RGB: black, dark and light brown, auburn, blond, and the grays of age. Our choice.
_HAIR = np.array([[0.07, 0.06, 0.06], [0.15, 0.10, 0.07], [0.28, 0.19, 0.12], [0.36, 0.17, 0.09], [0.62, 0.49, 0.31]])
_GREY_HAIR = np.array([[0.45, 0.44, 0.43], [0.72, 0.71, 0.70]])


@dataclass(frozen=True)
class Person:
    """The recipe of one person: asset names, target weights and colors. Everything is an adult in clothes."""

    gender: str
    age: float
    shape: tuple[tuple[str, float], ...]
    skin: str
    skin_gain: tuple[float, float, float]
    eyes: str
    eyebrows: str
    eyelashes: str
    teeth: str
    hair: str | None
    hair_color: tuple[float, float, float]
    clothes: str
    clothes_color: tuple[float, float, float]
    clothes_tint: float
    shoes: str


@dataclass(frozen=True)
class Part:
    """A run of triangles that share a texture: `first` and `count` index the flat list of corners.

    `kind` is skin, cloth, teeth, tongue, eye, brow, lash or hair; `texture` is RGBA [S, S, 4] in [0, 1].
    """

    kind: str
    first: int
    count: int
    texture: np.ndarray


@dataclass(frozen=True)
class Figure:
    """A person's mesh at rest: V split corners, F triangles, and what is needed to pose them.

    `rest` and `normals` [V, 3], `uv` [V, 2], `weights` [V, B]; names, beginnings and parents of the B bones
    (`bones`, `joints`, `parents`); `triangles` [F, 3]; `parts` in drawing order; `chin`, `crown` and `ground` are
    the heights of the bald head's lowest and highest point and of the soles. Decimeters.
    """

    rest: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    weights: np.ndarray
    bones: tuple[str, ...]
    joints: np.ndarray
    parents: np.ndarray
    triangles: np.ndarray
    parts: tuple[Part, ...]
    chin: float
    crown: float
    ground: float

    def pose(self, rotations: np.ndarray, translation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear blend skinning. `rotations` [B, 3, 3] are local, in world axes around each joint; `translation` [3]
        moves the root.

        Returns positions and unit normals [V, 3], float32.
        """
        turn, place = self.place_bones(rotations, translation)
        shift = place - np.einsum("bij,bj->bi", turn, self.joints)
        blended = self.weights @ np.concatenate([turn, shift[..., None]], -1).reshape(-1, 12).astype(np.float32)
        blended = blended.reshape(-1, 3, 4)
        positions = np.einsum("vij,vj->vi", blended[..., :3], self.rest) + blended[..., 3]
        normals = np.einsum("vij,vj->vi", blended[..., :3], self.normals)
        return positions, normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)

    def place_bones(self, rotations: np.ndarray, translation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rotations [B, 3, 3] of the posed bones in the world, and where they begin [B, 3]."""
        turn = np.empty((len(self.joints), 3, 3))
        place = np.empty((len(self.joints), 3))
        for bone, parent in enumerate(self.parents):
            if parent < 0:
                turn[bone], place[bone] = rotations[bone], self.joints[bone] + translation
            else:
                turn[bone] = turn[parent] @ rotations[bone]
                place[bone] = place[parent] + turn[parent] @ (self.joints[bone] - self.joints[parent])
        return turn, place


class HumanLibrary:
    """The CC0 MakeHuman assets in a folder. Files are read when first needed and kept.

    Raises FileNotFoundError, naming the first missing file, when the folder is not such a collection.
    """

    def __init__(self, assets: Path) -> None:
        self.assets = Path(assets)
        for needed in (
            "mesh/base.obj",
            "rigs/default.mhskel",
            "rigs/default_weights.mhw",
            "poseunits/face-poseunits.bvh",
            "targets/macrodetails",
        ):
            if not (self.assets / needed).exists():
                raise FileNotFoundError(
                    f"no MakeHuman assets in {self.assets}: looked for {needed}. Expected the folders mesh, targets, "
                    "rigs, poseunits, poses, expressions, skins, eyes, eyebrows, eyelashes, teeth, tongue, hair and "
                    "clothes of MakeHuman's CC0 core assets"
                )

    @cached_property
    def base(self) -> Mesh:
        return read_obj(self.assets / "mesh/base.obj", group="body")

    @cached_property
    def rig(self) -> Rig:
        return read_rig(
            self.assets / "rigs/default.mhskel", self.assets / "rigs/default_weights.mhw", len(self.base.positions)
        )

    @cached_property
    def face_units(self) -> dict[str, np.ndarray]:
        """Face pose units: name -> local rotation vectors [B, 3]."""
        names = _json(self.assets / "poseunits/face-poseunits.json")["framemapping"]
        return dict(zip(names, read_bvh(self.assets / "poseunits/face-poseunits.bvh", self.rig), strict=True))

    @cached_property
    def expressions(self) -> dict[str, dict[str, float]]:
        """Ready expressions: name -> weights of face units."""
        return {path.stem: _json(path)["unit_poses"] for path in sorted((self.assets / "expressions").glob("*.mhpose"))}

    @cached_property
    def poses(self) -> dict[str, np.ndarray]:
        """Whole-body poses: name -> local rotation vectors [B, 3]."""
        return {path.stem: read_bvh(path, self.rig)[0] for path in sorted((self.assets / "poses").glob("*.bvh"))}

    @cached_property
    def details(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """Shape details as (targets of the negative side, targets of the positive side)."""
        found: dict[str, tuple[list[str], list[str]]] = {}
        for folder in _DETAIL_FOLDERS:
            for path in sorted((self.assets / "targets" / folder).glob("*.target.gz")):
                stem = path.name.removesuffix(".target.gz")
                name, _, end = (stem[2:] if stem[:2] in ("l-", "r-") else stem).rpartition("-")
                side = next(((i, pair) for pair in _OPPOSITES for i in (0, 1) if pair[i] == end), None)
                if (
                    side is not None
                    and not name.startswith(_DETAILS_LEFT_OUT)
                    and not f"{name}-".startswith(_DETAILS_LEFT_OUT)
                ):
                    found.setdefault(f"{folder}/{name}-{side[1][0]}", ([], []))[side[0]].append(f"{folder}/{stem}")
        return tuple((tuple(low), tuple(high)) for low, high in found.values())

    def names(self, folder: str) -> tuple[str, ...]:
        """The assets of one kind, by folder name."""
        return tuple(
            sorted(
                path.name
                for path in (self.assets / folder).iterdir()
                if path.is_dir() and path.name not in ("materials", "textures")
            )
        )

    def sample_person(self, rng: np.random.Generator) -> Person:
        """Draw a random adult (age 20 to 85, any build, any ancestry); the distributions are our choice."""
        gender = "male" if rng.random() < 0.5 else "female"
        age = float(rng.choice([rng.uniform(0.5, 0.6), rng.uniform(0.5, 0.9)]))
        ancestry = rng.dirichlet([0.35, 0.35, 0.35])
        shape = self._macro_shape(gender, age, ancestry, rng)
        for low, high in self.details:
            weight = float(np.clip(rng.normal(0.0, 0.28), -0.65, 0.65))
            shape += [(target, abs(weight)) for target in (high if weight > 0 else low)]
        shape.append((f"head/head-{rng.choice(_HEAD_SHAPES)}", float(rng.uniform(0.0, 0.4))))
        stage = "young" if age < 0.63 else "middleage" if age < 0.78 else "old"
        people = ("african", "asian", "caucasian")[int(ancestry.argmax())]
        light = people == "caucasian"
        hair_weights = np.array([0.3, 0.3, 0.2, 0.08, 0.12]) if light else np.array([0.75, 0.22, 0.03, 0.0, 0.0])
        color = _HAIR[rng.choice(5, p=hair_weights)]
        if rng.random() < (age - 0.62) * 4.0:
            color = _GREY_HAIR[0] + rng.random() * (_GREY_HAIR[1] - _GREY_HAIR[0])
        styles = [name for name in self.names("hair") if name != "afro01" or people == "african"]
        styles = [name for name in styles if gender in self._hair_genders(name)]
        # Two styles hide an eye; fewer of them, since eyes are what a face is read by.
        likely = np.array([0.12 if name in ("bob01", "short03") else 1.0 for name in styles])
        bald = gender == "male" and rng.random() < 0.12
        dark_eyes = not light and rng.random() < 0.9
        return Person(
            gender=gender,
            age=age,
            shape=tuple(shape),
            skin=f"{stage}_{people}_{gender}",
            skin_gain=tuple((rng.uniform(0.86, 1.08) * rng.uniform(0.97, 1.03, 3)).tolist()),
            eyes="brownlight"
            if dark_eyes
            else str(rng.choice([path.stem for path in sorted((self.assets / "eyes/materials").glob("*.mhmat"))])),
            eyebrows=str(rng.choice(self.names("eyebrows"))),
            eyelashes=str(rng.choice(self.names("eyelashes"))),
            teeth=str(rng.choice(self.names("teeth"))),
            hair=None if bald else str(rng.choice(styles, p=likely / likely.sum())),
            hair_color=tuple((color * rng.uniform(0.85, 1.2)).clip(0, 1).tolist()),
            clothes=str(rng.choice([name for name in self.names("clothes") if name.startswith(gender + "_")])),
            clothes_color=tuple(rng.uniform(0.08, 0.95, 3).tolist()),
            clothes_tint=float(rng.uniform(0.0, 0.85)),
            shoes=str(rng.choice([name for name in self.names("clothes") if name.startswith("shoes")])),
        )

    def _hair_genders(self, name: str) -> tuple[str, ...]:
        tags = [
            line.split()[1].lower()
            for line in (self.assets / "hair" / name / f"{name}.mhclo").read_text(encoding="utf-8").splitlines()
            if line.startswith("tag ")
        ]
        return tuple(g for g in ("male", "female") if g in tags) or ("male", "female")

    def _macro_shape(
        self, gender: str, age: float, ancestry: np.ndarray, rng: np.random.Generator
    ) -> list[tuple[str, float]]:
        """Weights of the macro targets: every combination's weight is the product of its parts, as MakeHuman mixes
        them."""
        strength = float(rng.uniform(0.75, 1.0))
        other = "female" if gender == "male" else "male"
        genders = {gender: strength, other: 1.0 - strength}
        ages = {"young": 2.0 - 2.0 * age, "old": 2.0 * age - 1.0}
        muscle = _around("muscle", float(rng.uniform(0.25, 0.8)))
        weight = _around("weight", float(rng.uniform(0.2, 0.85)))
        height, proportions = float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.3, 0.9))
        shape = [
            (f"macrodetails/{race}-{g}-{a}", float(ancestry[i] * wg * wa))
            for i, race in enumerate(("african", "asian", "caucasian"))
            for (g, wg), (a, wa) in product(genders.items(), ages.items())
        ]
        for (g, wg), (a, wa), (m, wm), (w, ww) in product(
            genders.items(), ages.items(), muscle.items(), weight.items()
        ):
            mix = wg * wa * wm * ww
            shape += [
                (f"macrodetails/universal-{g}-{a}-{m}-{w}", mix),
                (f"macrodetails/height/{g}-{a}-{m}-{w}-{'max' if height > 0 else 'min'}height", mix * abs(height)),
                (
                    f"macrodetails/proportions/{g}-{a}-{m}-{w}-{'ideal' if proportions > 0 else 'uncommon'}proportions",
                    mix * abs(proportions),
                ),
            ]
        return [(target, value) for target, value in shape if value > 1e-4]

    def build(self, person: Person) -> Figure:
        """Make the mesh of a person."""
        base = self.base.positions.copy()
        for name, weight in person.shape:
            target = self._target(name)
            if target is not None:
                base[target[0]] += weight * target[1]
        skin_texture, skin_fit = self._skin(person), []
        color = np.array(person.hair_color)
        brows, lashes = (
            f"{kind}/{name}/{name}" for kind, name in (("eyebrows", person.eyebrows), ("eyelashes", person.eyelashes))
        )
        fitted: list[tuple[str, str, np.ndarray]] = [
            ("cloth", f"clothes/{person.clothes}/{person.clothes}", self._cloth(person)),
            (
                "cloth",
                f"clothes/{person.shoes}/{person.shoes}",
                self._texture(f"clothes/{person.shoes}/{person.shoes}_diffuse.png"),
            ),
            ("teeth", f"teeth/{person.teeth}/{person.teeth}", self._texture("teeth/materials/teeth.png")),
            ("tongue", "tongue/tongue01/tongue01", self._texture("tongue/tongue01/tongue01_diffuse.png")),
            ("eye", "eyes/high-poly/high-poly", self._texture(f"eyes/materials/{person.eyes}_eye.png")),
            ("brow", brows, _dyed(self._texture(f"{brows}.png"), 0.75 * color)),
            ("lash", lashes, _dyed(self._texture(f"{lashes}.png"), 0.2 * color)),
        ]
        if person.hair is not None:
            image = next((self.assets / "hair" / person.hair).glob("*_diffuse.png"))
            fitted.append(
                (
                    "hair",
                    f"hair/{person.hair}/{person.hair}",
                    _dyed(self._texture(str(image.relative_to(self.assets))), color),
                )
            )
        hidden = np.zeros(len(base), dtype=bool)
        meshes = []
        for kind, stem, texture in fitted:
            mesh, fit = self._asset(stem)
            hidden[fit.deleted] = True
            skin_fit.append(fit)
            meshes.append(
                (
                    kind,
                    mesh,
                    fit.place(base),
                    np.einsum("mk,mkb->mb", fit.weights, self.rig.weights[fit.vertices]),
                    texture,
                )
            )
        visible = self.base.triangles[~hidden[self.base.vertex[self.base.triangles]].all(1)]
        body = Mesh(self.base.positions, self.base.vertex, self.base.uv, visible)
        meshes.insert(0, ("skin", body, base, self.rig.weights, skin_texture))

        joints = self.rig.joints(base)
        head = (
            self.rig.weights[
                :13380, [self.rig.index(n) for n in self.rig.names if n == "head" or _below(self.rig, n, "head")]
            ].sum(1)
            > 0.5
        )
        chin, crown = float(base[:13380][head, 1].min()), float(base[:13380][head, 1].max())
        rest, normals, uv, weights, triangles, parts = [], [], [], [], [], []
        corners = first = 0
        for kind, mesh, positions, skin_weights, texture in meshes:
            normal = _vertex_normals(positions, mesh.vertex[self.base.triangles if kind == "skin" else mesh.triangles])
            if kind == "hair":
                # Strips of hair face every way; bending their normals outwards makes the hair shade as one volume.
                center = np.array([0.0, 0.5 * (chin + crown), joints[self.rig.index("head"), 2]])
                outwards = positions - center
                outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
                normal = normal * np.sign((normal * outwards).sum(1, keepdims=True)) + 1.2 * outwards
                normal /= np.linalg.norm(normal, axis=1, keepdims=True)
            rest.append(positions[mesh.vertex])
            normals.append(normal[mesh.vertex])
            weights.append(skin_weights[mesh.vertex])
            uv.append(mesh.uv)
            triangles.append(mesh.triangles + corners)
            parts.append(Part(kind, 3 * first, 3 * len(mesh.triangles), texture))
            corners += len(mesh.vertex)
            first += len(mesh.triangles)
        return Figure(
            rest=np.concatenate(rest).astype(np.float32),
            normals=np.concatenate(normals).astype(np.float32),
            uv=np.concatenate(uv).astype(np.float32),
            weights=np.concatenate(weights).astype(np.float32),
            bones=tuple(self.rig.names),
            joints=joints.astype(np.float64),
            parents=self.rig.parents,
            triangles=np.concatenate(triangles).astype(np.int32),
            parts=tuple(parts),
            chin=chin,
            crown=crown,
            ground=float(base[:13380, 1].min()),
        )

    @lru_cache(maxsize=None)  # noqa: B019 - a library lives as long as the program that renders with it
    def _target(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        path = self.assets / "targets" / f"{name}.target.gz"
        # MakeHuman ships no target where a combination changes nothing (averages, mostly).
        return read_target(path) if path.exists() else None

    @lru_cache(maxsize=None)  # noqa: B019
    def _asset(self, stem: str) -> tuple[Mesh, Fit]:
        path = self.assets / stem
        return read_obj(path.with_suffix(".obj")), read_mhclo(path.with_suffix(".mhclo"))

    @lru_cache(maxsize=None)  # noqa: B019
    def _texture(self, name: str) -> np.ndarray:
        return read_texture(self.assets / name)

    def _skin(self, person: Person) -> np.ndarray:
        material = self.assets / "skins" / person.skin / f"{person.skin}.mhmat"
        image = next(
            line.split()[1]
            for line in material.read_text(encoding="utf-8").splitlines()
            if line.startswith("diffuseTexture")
        )
        texture = self._texture(f"skins/textures/{Path(image).name}").copy()
        texture[..., :3] = (texture[..., :3] * np.array(person.skin_gain, dtype=np.float32)).clip(0, 1)
        return texture

    def _cloth(self, person: Person) -> np.ndarray:
        texture = self._texture(f"clothes/{person.clothes}/{person.clothes}_diffuse.png").copy()
        gray = texture[..., :3].mean(-1, keepdims=True)
        dyed = np.array(person.clothes_color, dtype=np.float32) * (0.35 + 1.1 * gray)
        texture[..., :3] = (texture[..., :3] + person.clothes_tint * (dyed - texture[..., :3])).clip(0, 1)
        return texture


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _around(name: str, value: float) -> dict[str, float]:
    """Weights of the minimum, average and maximum target of a slider at `value` in [0, 1]."""
    end = f"max{name}" if value > 0.5 else f"min{name}"
    return {f"average{name}": 1.0 - abs(2.0 * value - 1.0), end: abs(2.0 * value - 1.0)}


def _below(rig: Rig, name: str, ancestor: str) -> bool:
    parent = int(rig.parents[rig.index(name)])
    return parent >= 0 and (rig.names[parent] == ancestor or _below(rig, rig.names[parent], ancestor))


def _dyed(texture: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Give a hair texture another color and keep its strands: the color times the texture's relative brightness."""
    gray = texture[..., :3].mean(-1, keepdims=True)
    level = float((gray * texture[..., 3:]).sum() / max(texture[..., 3:].sum(), 1e-6))
    strands = (1.0 + 0.6 * (gray - level) / max(level, 0.12)).clip(0.4, 1.8)
    return np.concatenate([(strands * color.astype(np.float32)).clip(0, 1), texture[..., 3:]], -1).astype(np.float32)


def _vertex_normals(positions: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (positions[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    total = np.stack(
        [np.bincount(triangles.ravel(), np.repeat(face[:, axis], 3), len(positions)) for axis in range(3)], -1
    )
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
