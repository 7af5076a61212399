"""Latent Motion Diffusion Model (LEO): motion codes out of nothing, any length."""
