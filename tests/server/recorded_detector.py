"""A pack for a test's ComfyUI: a face detection model whose network is replaced by recorded landmarks.

Everything else is ComfyUI's own: its Detect Face Landmarks (MediaPipe) takes this model and builds the FACE_LANDMARKS.
"""

from pathlib import Path

import numpy as np
from comfy_api.latest import ComfyExtension, io

MODEL = io.Custom("FACE_DETECTION_MODEL")
FOLDER = Path(__file__).parent


class Recorded:
    """As ComfyUI's FaceLandmarkerModel: faces of one picture after the other, in the recording's order."""

    def __init__(self):
        recording = np.load(FOLDER / "talking_face.npz")
        self.track = recording["track"].astype(np.float32)
        rigid = np.arange(0, 468, 9)
        self.canonical_data = {
            "canonical_vertices": (recording["mean"][:468] * [1, -1, -1]).astype(np.float32),
            "procrustes_indices": rigid,
            "procrustes_weights": np.ones(len(rigid), np.float32),
        }
        self.connection_sets = {}
        self.seen = 0

    def detect_batch(self, images, num_faces, score_thresh, variant):
        return [self.detect(image) for image in images]

    def detect(self, image) -> list[dict]:
        points = self.track[self.seen % len(self.track)]
        self.seen += 1
        if self.seen in (5, 6):  # two frames without a face
            return []
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        scale = 150 / (high - low).max()
        canonical = np.concatenate([(points[:, :2] - low) * scale, points[:, 2:] * scale], 1)
        return [
            {
                "bbox_xyxy": np.array([*low, *high], np.float32),
                "blendshapes": {"_neutral": 0.0, "jawOpen": 0.1},
                "landmarks_xy": points[:, :2],
                "landmarks_3d": canonical.astype(np.float32),
                "presence": 0.99,
                "score": 0.9,
            }
        ]


class LoadRecordedDetector(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="LoadRecordedDetector", category="test", inputs=[], outputs=[MODEL.Output()])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(Recorded())


class Extension(ComfyExtension):
    async def get_node_list(self):
        return [LoadRecordedDetector]


async def comfy_entrypoint():
    return Extension()
