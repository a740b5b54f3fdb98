"""Isolation without training, for users with internet: torchvision's detectors find the person.

They know people (COCO), not garments: a garment is a fixed share of the person's height.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from siamese.errors import UserError
from siamese.isolation import Garment, IsolationError
from siamese.weights import read_weights, reason_of

LIBRARY = "torchvision"
PERSON = 1  # COCO's number in torchvision's detection models
SUREST = 0.5  # scores below are no person
# Of a standing adult from the crown (0) to the soles (1): the chin is at .13, the hips at .47 and
# the ankles at .96 of the height (Drillis and Contini 1966); tops reach over the hips.
SHARES = {"upper": (0.13, 0.55), "lower": (0.42, 0.96), "full": (0.13, 0.85), "shoes": (0.93, 1.0)}


class PersonDetector:
    """Finds the largest person and gives each part of the body its share of the person's box.

    Args:
        detector: A torchvision detection model: a list of float (3, H, W) in [0, 1] → a list of
            dicts with boxes (N, 4), labels (N,), scores (N,) and perhaps masks (N, 1, H, W).
    """

    def __init__(self, detector: nn.Module) -> None:
        self.detector = detector.eval()

    @torch.inference_mode()
    def find(self, photo: Image.Image) -> list[Garment]:
        """Parts of the largest person of an RGB photo, largest first; none without a person."""
        pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255
        seen: dict[str, Tensor] = self.detector([pixels])[0]
        people = torch.nonzero((seen["labels"] == PERSON) & (seen["scores"] >= SUREST))[:, 0]
        if not len(people):
            return []
        boxes = seen["boxes"]
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        person = int(people[areas[people].argmax()])
        inside = np.zeros((photo.height, photo.width), bool)
        x1, y1, x2, y2 = (int(side) for side in boxes[person].round().tolist())
        inside[y1:y2, x1:x2] = True
        if "masks" in seen:
            inside &= seen["masks"][person, 0].numpy() >= 0.5
        garments = []
        for group, (top, bottom) in SHARES.items():
            above, below = round(y1 + top * (y2 - y1)), round(y1 + bottom * (y2 - y1))
            mask = np.zeros_like(inside)
            mask[above:below] = inside[above:below]
            if mask.any():
                box = (float(x1), float(above), float(x2), float(below))
                sure = float(seen["scores"][person])
                garments.append(Garment(group, box, float(mask.mean()), sure, mask))
        return sorted(garments, key=lambda garment: -garment.share)


def load_person_detector(name: str, weights: str | Path | None = None) -> PersonDetector:
    """A detection model of torchvision with its published weights.

    Args:
        name: `torchvision/NAME`, for example `torchvision/maskrcnn_resnet50_fpn_v2`.
        weights: A local file of the model's state dict (`.pth`, `.safetensors`); without it they
            are fetched, which needs internet.

    Raises:
        IsolationError: Unknown model, or weights that do not fit or cannot be fetched.
    """
    import torchvision

    model = name.removeprefix(f"{LIBRARY}/")
    known = torchvision.models.list_models(module=torchvision.models.detection)
    if model not in known:
        raise IsolationError(f"{name}: no such detector; torchvision has {', '.join(known)}")
    make = torchvision.models.get_model
    if weights is None:
        try:
            return PersonDetector(make(model, weights="DEFAULT"))
        except Exception as error:  # the hub's client raises errors of its own
            raise IsolationError(
                f"{name}: its weights cannot be fetched ({reason_of(error)}); check the "
                "connection, or give a local file with --isolation-weights"
            ) from error
    try:
        detector = make(model, weights=None, weights_backbone=None)
        detector.load_state_dict(read_weights(Path(weights)))
    except UserError as error:  # no such file, or damaged
        raise IsolationError(str(error)) from error
    except Exception as error:  # copying raises nearly every built-in error
        raise IsolationError(
            f"{weights}: not weights of {model} ({reason_of(error)}); give the file of that model"
        ) from error
    return PersonDetector(detector)
