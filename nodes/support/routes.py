"""What the page asks of the server besides running graphs."""

import asyncio
import io
import logging
from pathlib import Path

from aiohttp import web
from PIL import Image
from server import PromptServer

from ...leo_core.animator.checkpoint import read_directions
from ...leo_core.directions import describe
from . import files, samples

ROUTE = "/leo/directions"
PREVIEW_ROUTE = "/leo/preview"
PREVIEW_SIZE = 512


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


def small_jpeg(name: str) -> bytes:
    pixels = samples.first_picture(samples.path_of(name))[0][0]
    picture = Image.fromarray((pixels * 255).round().byte().numpy())
    picture.thumbnail((PREVIEW_SIZE, PREVIEW_SIZE))
    file = io.BytesIO()
    picture.save(file, "JPEG")
    return file.getvalue()


async def preview(request: web.Request) -> web.Response:
    """GET /leo/preview?name=NAME: what LEO Load Sample loads under that name, or the first frame of it, as a JPEG of at
    most 512 pixels a side.

    404 with the reason for a file that is not listed or cannot be read.
    """
    try:
        body = await asyncio.to_thread(small_jpeg, request.query.get("name", ""))
    except (ValueError, OSError) as error:
        return web.json_response({"error": str(error)}, status=404)
    # A file can be replaced under its name.
    return web.Response(body=body, content_type="image/jpeg", headers={"Cache-Control": "no-store"})


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
    server.routes.get(PREVIEW_ROUTE)(preview)
