"""The steps of a network on a GPU, in Triton. Nothing here is imported before a GPU is used: see `ops`."""
