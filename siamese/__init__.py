"""Siamese: find, in a shop's catalog, the product that a person in a photo is wearing."""
