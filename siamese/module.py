"""The training loop's step, validation and optimiser, as a LightningModule.

Shapes: B photos, Q person photos, N product photos, D embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.labels import LabelHeads
from siamese.pair_score import (
    PairScore,
    all_pairs_loss,
    drawn_pairs_loss,
    info_nce_loss,
    supervised_contrastive_loss,
)
from siamese.preprocessing import Preprocessing
from siamese.pretrained import normalised_for
from siamese.retrieval import measure
from siamese.start_weights import start_from_checkpoint
from siamese.style_mixing import mix_styles_in

Loss = Literal["sigmoid", "bare_sigmoid", "infonce", "supcon"]
BATCH_LOSSES = {
    "sigmoid": all_pairs_loss,
    "infonce": info_nce_loss,
    "supcon": supervised_contrastive_loss,
}
# What decides how weights change; half of it lies in the state of the optimiser.
RECIPE = (
    *("loss", "optimiser", "learning_rate", "backbone_rate", "weight_decay", "warmup"),
    *("freeze_backbone", "label_weight"),
)


class PhotoBatch(NamedTuple):
    """Photos that all meet: pixels uint8 (B, H, W, 3), product int64 (B,), is_person bool (B,).

    Labels are the classes of L attributes, int64 (B, L), -1 where unknown.
    """

    pixels: Tensor
    product: Tensor
    is_person: Tensor
    labels: Tensor = torch.empty(0, 0, dtype=torch.int64)


class PairBatch(NamedTuple):
    """Drawn pairs: two times uint8 (B, H, W, 3), and whether each is one product, bool (B,)."""

    product_pixels: Tensor
    person_pixels: Tensor
    same: Tensor


class SiameseModule(pl.LightningModule):
    """Trains one shared encoder on product–person pairs.

    Args:
        encoder: The encoder's make.
        preprocessing: Photo → encoder input; also the size of the cached pixels.
        pretrained: Of a timm or torchvision backbone: true fetches published weights from the
            hub, a path reads a local file, `hf-hub:OWNER/REPOSITORY` a repository of timm's kind.
            Preprocessing then takes their mean and std, unless others are set.
        start_from: A model.safetensors whose weights the training starts from, in place of
            `pretrained`. If its embeddings have another size, the neck starts anew. `PATH#2` is
            the second of several encoders side by side.
        freeze_backbone: Train the neck and the pair score only.
        loss: `sigmoid` (all pairs of a batch, learned scale and bias), `bare_sigmoid` (the
            LookBook report's: drawn pairs, sigmoid of the cosine), `infonce` or `supcon`.
        optimiser: `adamw`, or `sgd` as in the report.
        learning_rate: Its peak.
        backbone_rate: Share of it that the backbone gets, 0.1 say where that is published and
            the neck is new.
        weight_decay: Of weight matrices and kernels; biases, norms and the score have none.
        warmup: Share of all steps in which the rate rises from 0; then it falls as a cosine.
            `None` keeps the rate constant (the report's).
        scale: Start of the pair score's scale.
        mix_styles: Share of the photos whose styles are mixed in training, see
            `siamese.style_mixing`; of `small_resnet`.
        label_weight: Of the cross-entropy of `data.labels`, added to the loss of pairs.
        seed: Of dropout, drawn anew for each epoch so that a resumed run repeats it.
    """

    def __init__(
        self,
        encoder: EncoderConfig = EncoderConfig(),
        preprocessing: Preprocessing = Preprocessing(),
        pretrained: bool | str = False,
        start_from: str | None = None,
        freeze_backbone: bool = False,
        loss: Loss = "sigmoid",
        optimiser: Literal["adamw", "sgd"] = "adamw",
        learning_rate: float = 2e-3,
        backbone_rate: float = 1.0,
        weight_decay: float = 0.05,
        warmup: float | None = 0.1,
        scale: float = 10.0,
        mix_styles: float = 0.0,
        label_weight: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        rates = learning_rate, backbone_rate, weight_decay
        if min(*rates, label_weight) < 0 or scale <= 0:
            raise UserError(
                "model.learning_rate, backbone_rate, weight_decay and label_weight must be at "
                f"least 0, scale above 0, not {(*rates, label_weight)} and {scale}"
            )
        if not 0 <= (warmup or 0) <= 1:
            raise UserError(f"model.warmup must be a share from 0 to 1, not {warmup}")
        published = encoder.backbone.startswith(("timm/", "torchvision/"))
        if pretrained and not published:
            raise UserError(
                f"{encoder.backbone} takes no model.pretrained, which is for published backbones; "
                "use model.start_from for weights of train.py"
            )
        if encoder.backbone == "small_resnet" and encoder.neck == "none":
            raise UserError(
                "small_resnet takes no encoder.neck: none, which is for published backbones"
            )
        if mix_styles and freeze_backbone:
            raise UserError("model.mix_styles has no effect with freeze_backbone; leave out one")
        if start_from is not None:
            pretrained = False
        preprocessing = normalised_for(preprocessing, encoder.backbone, pretrained)
        self.preprocessing = preprocessing
        self.loss: Loss = loss
        self.optimiser = optimiser
        self.learning_rate, self.backbone_rate, self.weight_decay = rates
        self.warmup, self.seed = warmup, seed
        self.freeze_backbone = freeze_backbone
        size = preprocessing.height, preprocessing.width
        self.encoder = Encoder(encoder, *size, pretrained)
        if start_from is not None:  # weights of a resumed training are loaded over these later
            start_from_checkpoint(self.encoder, preprocessing, start_from)
        self.encoder.to(memory_format=torch.channels_last)
        self.score = (
            PairScore(1.0, 0.0, learned=False) if loss == "bare_sigmoid" else PairScore(scale)
        )
        if mix_styles:
            mix_styles_in(self.encoder, mix_styles)
        self.label_weight = label_weight
        self.heads: LabelHeads | None = None
        self._start_bias: float | None = None if loss == "sigmoid" else 0.0
        if freeze_backbone:
            self.encoder.backbone.requires_grad_(False)
            self.train()  # the trainer keeps the modes it finds
        self._validation: list[PhotoBatch] = []

    def add_label_heads(self, classes: Sequence[int]) -> None:
        """Learn attributes with so many classes besides; the data says so before a training."""
        self.heads = LabelHeads(self.encoder.features, classes)

    def train(self, mode: bool = True) -> SiameseModule:
        """Training mode; a frozen backbone keeps the statistics of its batch norms."""
        super().train(mode)
        if self.freeze_backbone:
            self.encoder.backbone.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) → unit embeddings, float32 (B, D)."""
        embedding: Tensor = self.encoder(self.preprocessing.normalise(pixels))
        return embedding

    @torch.no_grad()
    def embed(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) → unit embeddings in evaluation mode, float32 (B, D), on the CPU."""
        was_training = self.training
        self.eval()
        embedding: Tensor = self(pixels.to(self.device)).cpu()
        self.train(was_training)
        return embedding

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What a training that goes on must be told again."""
        checkpoint["recipe"] = {name: getattr(self, name) for name in RECIPE}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with another training's weights, or by another recipe.

        Half of it would be followed: rates and decays are those of the checkpoint.
        """
        before = checkpoint.get("recipe", {})  # none in checkpoints of before
        other = [name for name, value in before.items() if value != getattr(self, name)]
        if other:
            told = ", ".join(f"{name} {before[name]}, not {getattr(self, name)}" for name in other)
            raise UserError(
                f"{self.trainer.ckpt_path}: was trained with model.{told}; go on with the "
                "config.yaml beside it, or begin a run that starts from its weights "
                "(--model.start_from)"
            )
        kept, own = (
            {n: w.shape for n, w in state.items()}
            for state in (checkpoint["state_dict"], self.state_dict())
        )
        if kept != own:
            raise UserError(
                f"{self.trainer.ckpt_path}: is of another encoder or of other data.labels; go on "
                "with the config.yaml beside it"
            )

    def on_train_start(self) -> None:
        if not any(parameter.requires_grad for parameter in self.encoder.parameters()):
            raise UserError(
                f"nothing to train: backbone {self.encoder.config.backbone} has no weights outside "
                "of what is frozen; set model.freeze_backbone or trainer.max_epochs to 0"
            )

    def on_train_epoch_start(self) -> None:
        # Dropout is the only step that draws here; the batches carry their own seeds.
        torch.manual_seed(self.seed + 1_000_003 * self.current_epoch + self.global_rank)

    def training_step(self, batch: PhotoBatch | PairBatch, _: int) -> Tensor:
        """Loss of one batch of the kind that the loss is made for."""
        if isinstance(batch, PairBatch) == (self.loss in BATCH_LOSSES):
            needed = "products" if self.loss in BATCH_LOSSES else "pairs"
            raise UserError(f"model.loss {self.loss} needs data.batches: {needed}")
        pairs = isinstance(batch, PairBatch)
        loss = self._pair_loss(batch) if isinstance(batch, PairBatch) else self._photo_loss(batch)
        # Of drawn pairs each process knows its own share of the loss only.
        self.log(
            "loss", loss, prog_bar=True, on_epoch=True, on_step=True, batch_size=1, sync_dist=pairs
        )
        return loss

    def _pair_loss(self, batch: PairBatch) -> Tensor:
        # One pass over both sides: the weights are shared, and so are the batch statistics.
        both = self(torch.cat([batch.product_pixels, batch.person_pixels]))
        product, person = both.chunk(2)
        return drawn_pairs_loss(self.score((product * person).sum(dim=1)), batch.same)

    def _photo_loss(self, batch: PhotoBatch) -> Tensor:
        features = self.encoder.backbone(self.preprocessing.normalise(batch.pixels))
        embedding = self._gather(self.encoder.embed_features(features), gradient=True)
        product = self._gather(batch.product)
        is_person = self._gather(batch.is_person)
        positive = product[is_person][:, None] == product[~is_person]  # (Q, N)
        if self._start_bias is None:
            # Zhai et al.: the first guess is right for N products of which one matches.
            self._start_bias = -math.log(max(positive.shape[1] - 1, 1))
            if self.global_step == 0:
                self.score.bias.data.fill_(self._start_bias)
        # In float32: a cosine of bfloat16 has three digits, too few to be scaled up.
        with torch.autocast(embedding.device.type, enabled=False):
            logits = self.score(embedding[is_person] @ embedding[~is_person].T)
        loss = BATCH_LOSSES[self.loss](logits, positive)
        if self.heads is None:
            return loss
        seen = self._gather(features, gradient=True)
        label_loss = self.heads.loss(seen, self._gather(batch.labels))
        self.log("label_loss", label_loss, on_epoch=True, on_step=False, batch_size=1)
        return loss + self.label_weight * label_loss

    def _gather(self, tensor: Tensor, gradient: bool = False) -> Tensor:
        """The whole batch's rows from every process; the gradient flows back to each."""
        if self.trainer.world_size == 1:
            return tensor
        gathered = self.all_gather(tensor, sync_grads=gradient)
        assert isinstance(gathered, Tensor)
        return gathered.flatten(0, 1)

    def validation_step(self, batch: PhotoBatch, _: int) -> None:
        """Keep the embeddings: retrieval needs all of them, each once."""
        self._validation.append(
            PhotoBatch(self(batch.pixels).float().cpu(), batch.product.cpu(), batch.is_person.cpu())
        )

    def on_validation_epoch_end(self) -> None:
        """Rank all validation products for each validation person photo, in every process."""
        batches = self._validation
        if self.trainer.world_size > 1:  # shares may differ in length, which all_gather cannot
            shares: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, batches)
            batches = [batch for share in shares for batch in share]
        self.validated = PhotoBatch(*(torch.cat(part) for part in zip(*batches, strict=True)))
        self._validation = []
        embedding, product, is_person, _ = self.validated
        if not is_person.any() or is_person.all():
            return  # of a few batches of a trial
        report = measure(
            embedding[is_person], product[is_person], embedding[~is_person], product[~is_person]
        )
        self.log_dict(
            {f"validation/top_{k}": share for k, share in report.top.items()}
            | {"validation/mean_reciprocal_rank": report.mean_reciprocal_rank},
            prog_bar=False,
        )
        self.log("top-1", report.top[1], prog_bar=True, logger=False)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained, by rate and by decay: matrices and kernels decay, the rest does not."""
        backbone = set(self.encoder.backbone.parameters())
        groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
        for parameter in self.parameters():
            if parameter.requires_grad:
                share = self.backbone_rate if parameter in backbone else 1.0
                groups.setdefault((share, parameter.ndim >= 2), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": share * self.learning_rate,
                "weight_decay": self.weight_decay if decays else 0.0,
            }
            for (share, decays), parameters in groups.items()
        ]

    def configure_optimizers(self) -> Any:
        """The optimiser, with the rate's schedule unless it is constant."""
        groups = self._parameter_groups()
        optimiser: torch.optim.Optimizer
        if self.optimiser == "sgd":
            optimiser = torch.optim.SGD(groups, lr=self.learning_rate)
        else:
            clipped = self._trainer is not None and bool(self._trainer.gradient_clip_val)
            # Lightning cannot clip what the fused one unscales by itself.
            optimiser = torch.optim.AdamW(groups, lr=self.learning_rate, fused=not clipped)
        if self.warmup is None:
            return optimiser
        steps = self.trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise UserError("model.warmup needs to know the end: set trainer.max_epochs")
        rise = max(1, round(self.warmup * steps))

        def factor(step: int) -> float:
            if step < rise:
                return (step + 1) / rise
            return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
