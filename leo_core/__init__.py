"""LEO's model: animator, motion diffusion, flows and motion as data. Torch only; nothing here imports ComfyUI."""
