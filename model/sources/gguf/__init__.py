"""A GGUF file as a checkpoint: what its metadata says, in the files that hubs publish."""

from model.sources.gguf.directory import gguf_directory

__all__ = ["gguf_directory"]
