"""Training: data, synthetic humans, losses and loops. Needs the packages of the ``train`` extra."""
