"""LEO's nodes, one file per job."""

from comfy_api.latest import ComfyExtension, io

from . import animator, expression, face, flow, lmdm, motion, motion_files, photo, ready_made, sample, video, webcam
from .support import files, routes


class LEOExtension(ComfyExtension):
    async def on_load(self) -> None:
        files.register_folders()
        routes.register_routes()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            node
            for job in (
                animator,
                video,
                lmdm,
                motion,
                motion_files,
                ready_made,
                face,
                flow,
                photo,
                expression,
                sample,
                webcam,
            )
            for node in job.NODES
        ]


async def comfy_entrypoint() -> LEOExtension:
    return LEOExtension()
