"""Say on the node what was done to an input, where silence would surprise."""

import logging

from comfy_api.latest import io
from server import PromptServer


def show_status(node: type[io.ComfyNode], text: str) -> None:
    """Show a line on the running node and in the log. The node's schema must ask for io.Hidden.unique_id."""
    # ComfyUI runs a locked copy of each class, named so
    logging.info("%s: %s", node.__name__.removesuffix("Clone"), text)
    show_stage(node, text)


def show_stage(node: type[io.ComfyNode], text: str) -> None:
    """Show a line on the running node, in the place of the one before. The same holds for its schema."""
    server = getattr(PromptServer, "instance", None)
    if server is not None and node.hidden is not None and node.hidden.unique_id is not None:
        server.send_progress_text(text, node.hidden.unique_id)
