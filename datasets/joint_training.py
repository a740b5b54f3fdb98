"""Trains one embedding of what several networks see, without changing them.

python -m datasets.joint_training MANIFEST --encoder "a/model.safetensors + b/model.safetensors"

The networks look at each photo a few times, in views that differ; then their features are all that
a linear map (`siamese.joint_head`) is trained on, in batches of hundreds of look-alikes, for which
whole networks would need hours. `infer.py calibrate` makes a checkpoint with probabilities of it.

Shapes: R photos, V views of each, P products in a batch, C features of all networks.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import seed_everything
from torch import Tensor, nn

from datasets.cache import CachedPhotos
from datasets.head_training import (
    HeadModule,
    fit_head,
    head_parser,
    parse_head,
    studied_photos,
)
from datasets.joint_batches import Batch, ProductBatches, Seen
from datasets.views import views_of
from siamese.checkpoint import Checkpoint
from siamese.cli import quieten
from siamese.concatenation import Concatenation, with_joint_head, with_levels
from siamese.encoder import Encoder
from siamese.errors import UserError
from siamese.evaluation import codes
from siamese.extractors import extractor
from siamese.files import check_writable
from siamese.joint_head import JointHead, Standardisation
from siamese.parts import parts_of
from siamese.runtime import keep_freed_memory
from siamese.second_look import focus_of

STARTING_SCALES = (15.0, 10.0)  # of the cosine beside, and of the joint one


class JointModule(HeadModule):
    """InfoNCE both ways of both cosines' weighed sum: the head learns what is missing.

    Args:
        head: Trained in place.
        steps: Of the whole training.
        alone: Of its own cosine only: the head learns all that it can.
    """

    def __init__(self, head: JointHead, steps: int, alone: bool = False) -> None:
        super().__init__(steps)
        self.head, self.alone = head, alone
        self.scales = nn.Parameter(torch.tensor(STARTING_SCALES).log())

    def training_step(self, batch: Batch, _: int) -> Tensor:
        beside, joint = self.scales.exp()
        cosines = self.head(batch.person) @ self.head(batch.thing).T
        logits = joint * cosines + (0 if self.alone else beside * batch.beside)
        return self.loss_of(logits)


@torch.inference_mode()
def look(
    checkpoint: Checkpoint,
    frame: pd.DataFrame,
    cached: CachedPhotos,
    views: int,
    light: float,
    seed: int,
) -> Seen:
    """What the networks say of all photos, each in several views of the kind of `data.view_*`.

    Photos of people without a box are seen closer, where the second look of a search would be.

    Args:
        checkpoint: Encoders side by side.
        frame: R rows of a manifest.
        cached: Their pixels.
        views: V.
        light: How much light and colours differ; cameras always do.
        seed: Of the views.
    """
    several = checkpoint.encoder.backbone
    assert isinstance(several, Concatenation)
    features, beside = [], []

    def focus(photos: Tensor) -> Tensor:
        return _focus(checkpoint, photos)

    for _, _, changed in views_of(frame, cached, views, light, seed, focus):
        pooled, embeddings = _pooled(several, checkpoint.normalised(torch.from_numpy(changed)))
        features.append(several.studied(pooled).half().cpu().numpy())
        beside.append(several.joined(embeddings).cpu())
    shape = (views, len(frame), -1)
    seen = np.concatenate(features).reshape(shape), torch.cat(beside).view(shape)
    return Seen(*seen, *codes(frame))


def _focus(checkpoint: Checkpoint, photos: Tensor) -> Tensor:
    """Where the second look would see photos, uint8 (B, H, W, 3): boxes (B, 4)."""
    _, parts = parts_of(checkpoint.encoder, checkpoint.normalised(photos))
    return focus_of(parts, len(photos)).cpu()


def _pooled(several: Concatenation, photos: Tensor) -> tuple[list[list[Tensor]], list[Tensor]]:
    """Pooled views and embeddings of each encoder."""
    seen = [(encoder, encoder.pooled_views(photo)) for encoder, photo in several.views(photos)]
    return [pooled for _, pooled in seen], [encoder.embed_views(each) for encoder, each in seen]


def train(
    encoder: Encoder,
    seen: Seen,
    steps: int,
    seed: int,
    dropout: float = 0.0,
    alone: bool = False,
) -> None:
    """Train the joint head of encoders side by side, in place.

    Args:
        encoder: Its joint head is trained.
        seen: What it is trained on.
        steps: Batches.
        seed: Of the batches.
        dropout: Share of the features that each photo goes without, drawn anew for each batch.
        alone: Train it as if nothing stood beside it, in batches of any products, not of
            look-alikes.

    Raises:
        UserError: As of `ProductBatches`.
    """
    several = encoder.backbone
    assert isinstance(several, Concatenation)
    assert several.joint is not None
    several.joint.dropout.p = dropout
    if isinstance(several.joint.norm, Standardisation):
        several.joint.norm.fit(torch.from_numpy(seen.features[0]).float())
    batches = ProductBatches(seen, steps, seed, alike=not alone)
    fit_head(JointModule(several.joint, steps, alone), batches)


def main(words: Sequence[str]) -> int:
    """Command line: look at the training photos, train, save."""
    parser = head_parser("datasets.joint_training", __doc__, 2, 0.6, 1500, 0.0)
    parser.add_argument(
        "--encoder",
        required=True,
        help="encoders side by side, as of infer.py; those of weight 0 are there for it alone",
    )
    parser.add_argument("--size", type=int, default=256, help="numbers of the joint embedding")
    parser.add_argument(
        "--weight", type=float, default=2.0, help="of its cosine, where a single encoder's is 1"
    )
    parser.add_argument(
        "--levels",
        action="store_true",
        help="learn from all levels of each small_resnet, not from its last features alone",
    )
    parser.add_argument(
        "--standardise",
        action="store_true",
        help="each feature by itself, as those of published networks need",
    )
    parser.add_argument(
        "--alone",
        action="store_true",
        help="learn all that it can, in batches of any products, in place of what the encoders "
        "beside it miss, in batches of look-alikes: for one that counts more than they do",
    )
    choice = parse_head(parser, words)
    if choice.size < 1 or not 0 < choice.weight < 1e6:
        parser.error("--size must be at least 1, --weight above 0")
    quieten()
    keep_freed_memory()
    started = time.perf_counter()
    try:
        check_writable(choice.out)
        seed_everything(choice.seed, verbose=False)
        given = extractor(choice.encoder, studied=True)
        given = with_levels(given) if choice.levels else given
        checkpoint = with_joint_head(given, choice.size, choice.weight, choice.standardise)
        photos = studied_photos(choice, given.preprocessing)
        seen = look(given, *photos.part("train"), choice.views, choice.light, choice.seed)
        train(checkpoint.encoder, seen, choice.steps, choice.seed, choice.dropout, choice.alone)
        checkpoint.encoder.eval()
        checkpoint.save(choice.out)
    except (UserError, OSError) as error:
        print(f"datasets.joint_training: {error}", file=sys.stderr)
        return 1
    print(f"{choice.out}: written, {time.perf_counter() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
