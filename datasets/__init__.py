"""Manifests and batches; shadows Hugging Face's `datasets` when run from the root: never put it into a wheel under this name."""
