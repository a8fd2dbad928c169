"""GGUF files: their tensors under the names of the modules, and the numbers that transformers does not read."""
