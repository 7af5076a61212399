"""What the page asks of the server besides running graphs."""
import asyncio

from aiohttp import web
from server import PromptServer

from ...leo_core.animator.checkpoint import read_directions
from ...leo_core.directions import describe
from . import files


async def directions(request: web.Request) -> web.Response:
    """GET /leo/directions?model=FILE: the directions of an animator file, named where names are known, before it is ever loaded.

    404 with the reason for a file that is not listed or is no animator.
    """
    try:
        known = await asyncio.to_thread(lambda: describe(*read_directions(files.resolve_file(request.query.get("model", "")))))
    except (ValueError, OSError) as error:
        return web.json_response({"error": str(error)}, status=404)
    return web.json_response(known)


def register_routes() -> None:
    server = getattr(PromptServer, "instance", None)  # none where nodes are called without a server
    if server is not None:
        server.routes.get("/leo/directions")(directions)
