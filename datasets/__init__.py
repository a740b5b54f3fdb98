"""Manifests and training batches.

Shadows Hugging Face's `datasets` when run from the repository root: must not be put into a wheel
under that name.
"""
