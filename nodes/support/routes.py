"""What the page asks of the server besides running graphs."""

import asyncio
import logging
from pathlib import Path

from aiohttp import web
from server import PromptServer

from ...leo_core.animator.checkpoint import read_directions
from ...leo_core.directions import describe
from . import files

ROUTE = "/leo/directions"


async def directions(request: web.Request) -> web.Response:
    """GET /leo/directions?model=FILE: the directions of an animator file, named where names are known, before it is
    ever loaded.

    404 with the reason for a file that is not listed or is not an animator.
    """
    try:
        known = await asyncio.to_thread(
            lambda: describe(*read_directions(files.resolve_file(request.query.get("model", ""))))
        )
    except (ValueError, OSError) as error:
        return web.json_response({"error": str(error)}, status=404)
    return web.json_response(known)


def register_routes() -> None:
    """Add the pack's routes, once: a second copy of the pack would keep the whole server from starting."""
    server = getattr(PromptServer, "instance", None)  # none where nodes are called without a server
    if server is None:
        return
    for route in server.routes:
        if getattr(route, "path", None) == ROUTE:
            here, other = (Path(code.co_filename).parents[2] for code in (directions.__code__, route.handler.__code__))
            logging.warning(
                "LEO is installed twice, in %s and in %s. Remove one of them from custom_nodes.", other, here
            )
            return
    server.routes.get(ROUTE)(directions)
