"""What the nodes share: handles of models, sockets, widgets, streams and files. No nodes here."""
