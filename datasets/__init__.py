"""Manifests and training batches, from any data set.

This package shadows Hugging Face's package `datasets` when run from the repository root: it must
never be put into a wheel under this name, and no dependency of ours may import theirs.
"""
