"""LEO's model: animator, motion diffusion, flow and motion as data. Nothing here imports ComfyUI."""
