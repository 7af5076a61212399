"""A still picture edited by one node."""

from author_workflows import RENDERING, Workflow

flow = Workflow("LEO - Edit an expression")
photo = flow.node("LEOLoadSample", title="Photo", inputs={"sample": "portrait_2.jpg"})
flow.note(
    "## Edit an expression\n\nPress **Run**: the man in the photo turns his head a little, opens his mouth, and raises "
    "his brows.\n\n"
    "**Move a slider and run again**: the node shows the result. Choose *Run (On Change)* next to **Run**, and the "
    "picture follows the sliders.\n\n"
    "**Your own photo**: press *choose your own file* on the sample, or drop a photo on it. The face "
    "is found in a photo of any size, and the rest of the photo stays as it is.\n\n"
    "With the small model that comes with the pack, heads, jaws, raised brows and lids follow well, smiles less; one "
    "eye hardly closes without the other, and the gaze hardly moves. *pose* is a keyframe for **LEO Join Motion** and "
    "**LEO Blend Motion**.",
    size=(400, 240),
)
edited = flow.node(
    "LEOExpressionEditor",
    size=(330, 940),
    inputs={"image": photo["image"], "turn": 0.4, "nod": 0.15, "jaw_open": 0.45, "brows_up": 0.7},
)
flow.node("SaveImage", inputs={"images": edited["image"], "filename_prefix": "leo/expression"}, size=(400, 440))
flow.group("Sliders", edited, color=RENDERING)
