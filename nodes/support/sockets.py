"""What the LEO sockets carry.

LEO_ANIMATOR    AnimatorHandle (handles.py)
LEO_LMDM        MotionPriorHandle (handles.py)
LEO_APPEARANCE  leo_core.animator.Appearance
LEO_MOTION      leo_core.motion.MotionSequence
LEO_FLOW        leo_core.flow.FlowField
LEO_CROP        leo_core.crop.Crop
"""

from comfy_api.latest import io

LeoAnimator = io.Custom("LEO_ANIMATOR")
LeoLMDM = io.Custom("LEO_LMDM")
LeoAppearance = io.Custom("LEO_APPEARANCE")
LeoMotion = io.Custom("LEO_MOTION")
LeoFlow = io.Custom("LEO_FLOW")
LeoCrop = io.Custom("LEO_CROP")
