"""Training does what its loss says: in one process or two, straight or resumed, frozen or not."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from helpers_data import SIZE, data_of, trainer_of
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader

from siamese.encoder import EncoderConfig
from siamese.errors import UserError
from siamese.evaluation import codes
from siamese.module import Loss, PairBatch, PhotoBatch, SiameseModule
from siamese.retrieval import measure

ROOT = Path(__file__).parent.parent


SMALL = EncoderConfig(widths=(8, 16), depth=1, embedding_size=8)


def one_batch(batch: PhotoBatch | PairBatch) -> DataLoader[Any]:
    return DataLoader(cast(Any, [batch]), batch_size=None)


def photo_batch(products: int, persons: int, seed: int = 0) -> PhotoBatch:
    """Noise; product p is shown by one product photo and so many persons."""
    generator = torch.Generator().manual_seed(seed)
    product = torch.arange(products).repeat_interleave(1 + persons)
    is_person = torch.arange(len(product)) % (1 + persons) > 0
    pixels = torch.randint(0, 256, (len(product), 32, 24, 3), generator=generator)
    return PhotoBatch(pixels.to(torch.uint8), product, is_person)


NOISE = photo_batch(3, 1)


def step_of_descent(
    module: SiameseModule, batch: PhotoBatch | PairBatch
) -> tuple[dict[str, Tensor], float]:
    """Gradients, read off one step of plain gradient descent at rate 1; and the logged loss."""
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    trainer = trainer_of(max_steps=1, max_epochs=1)
    trainer.fit(module, one_batch(batch))
    after = dict(module.named_parameters())
    gradients = {name: before[name] - after[name].detach() for name in before}
    return gradients, float(trainer.callback_metrics["loss"])


def descending(loss: Loss, **arguments: Any) -> SiameseModule:
    torch.manual_seed(0)
    return SiameseModule(
        SMALL, SIZE, loss=loss, optimiser="sgd", learning_rate=1.0, weight_decay=0.0,
        warmup=None, **arguments,
    )  # fmt: skip


def bce(logit: Tensor, same: bool) -> Tensor:
    return torch.log1p(torch.exp(-logit if same else logit))


def naive_sigmoid(score: Callable[[Tensor], Tensor], e: Tensor, batch: PhotoBatch) -> Tensor:
    persons = [i for i in range(len(e)) if batch.is_person[i]]
    shop = [i for i in range(len(e)) if not batch.is_person[i]]
    total = torch.zeros(())
    for i in persons:
        for j in shop:
            total = total + bce(score(e[i] @ e[j]), bool(batch.product[i] == batch.product[j]))
    return total / len(persons)


def naive_infonce(score: Callable[[Tensor], Tensor], e: Tensor, batch: PhotoBatch) -> Tensor:
    """One product photo each: cross-entropy over the product photos."""
    persons = [i for i in range(len(e)) if batch.is_person[i]]
    shop = [i for i in range(len(e)) if not batch.is_person[i]]
    total = torch.zeros(())
    for i in persons:
        logits = torch.stack([score(e[i] @ e[j]) for j in shop])
        right = next(k for k, j in enumerate(shop) if batch.product[j] == batch.product[i])
        total = total - (logits[right] - logits.exp().sum().log())
    return total / len(persons)


@pytest.mark.parametrize(
    ("loss", "naive"),
    [("sigmoid", naive_sigmoid), ("infonce", naive_infonce), ("supcon", naive_infonce)],
)
def test_a_step_follows_the_gradient_of_the_naive_loss(loss: Loss, naive: Any) -> None:
    """In training mode; the bias of the score starts at −ln(N − 1), N = 5 product photos."""
    module = descending(loss)
    batch = photo_batch(5, 2)
    model = copy.deepcopy(module)
    if loss == "sigmoid":
        model.score.bias.data.fill_(-math.log(4))
    expected = naive(model.score, model(batch.pixels), batch)
    expected.backward()
    if loss == "sigmoid":
        module.score.bias.data.fill_(-math.log(4))  # so that the difference is the gradient
    gradients, logged = step_of_descent(module, batch)
    assert logged == pytest.approx(expected.item(), rel=1e-4)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(gradients[name], parameter.grad, rtol=1e-2, atol=1e-4), name
    assert gradients["score.log_scale"].abs() > 1e-4


def test_a_step_follows_the_gradient_of_the_labels_as_well() -> None:
    """Two attributes on the features before the neck; the second is unknown of most photos."""
    module = descending("infonce", label_weight=0.7)
    module.add_label_heads([3, 2])
    batch = photo_batch(4, 1)
    labels = torch.tensor([[0, 1], [1, -1], [2, -1], [0, -1], [1, 0], [2, -1], [0, -1], [0, -1]])
    model = copy.deepcopy(module)
    features = model.encoder.backbone(model.preprocessing.normalise(batch.pixels))
    embedding = torch.nn.functional.normalize(model.encoder.neck(features), dim=1)
    expected = naive_infonce(model.score, embedding, batch)
    assert model.heads is not None
    for column, head in enumerate(model.heads.heads):
        known = labels[:, column] >= 0
        likelihood = head(features[known]).log_softmax(dim=1)
        right = likelihood[torch.arange(int(known.sum())), labels[known, column]]
        expected = expected - 0.7 * right.mean() / 2
    expected.backward()
    gradients, logged = step_of_descent(module, batch._replace(labels=labels))
    assert logged == pytest.approx(expected.item(), rel=1e-4)
    for name, parameter in model.named_parameters():
        if name != "score.bias":  # which does not matter among a row's logits
            assert parameter.grad is not None
            assert torch.allclose(gradients[name], parameter.grad, rtol=1e-2, atol=1e-4), name


def test_a_step_of_the_reports_loss_follows_its_gradient() -> None:
    """Both photos of a pair go through one network; the score is the bare cosine."""
    module = descending("bare_sigmoid")
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randint(0, 256, (2, 6, 32, 24, 3), generator=generator).to(torch.uint8)
    same = torch.tensor([True, False, True, True, False, False])
    model = copy.deepcopy(module)
    e = model(torch.cat([left, right]))
    expected = sum(bce(e[i] @ e[i + 6], bool(same[i])) for i in range(6)) / 6
    assert isinstance(expected, Tensor)
    expected.backward()
    gradients, logged = step_of_descent(module, PairBatch(left, right, same))
    assert logged == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in model.encoder.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(gradients[f"encoder.{name}"], parameter.grad, rtol=1e-2, atol=1e-5)
    assert gradients["score.log_scale"] == gradients["score.bias"] == 0


def test_the_bias_starts_at_minus_the_logarithm_of_the_wrong_products() -> None:
    for products in (5, 9):
        module = SiameseModule(SMALL, SIZE, learning_rate=0.0, warmup=None)
        trainer_of(max_steps=1).fit(module, one_batch(photo_batch(products, 1)))
        assert module.score.bias.item() == pytest.approx(-math.log(products - 1))


def test_scores_are_worked_out_in_float32_whatever_the_precision() -> None:
    """A cosine of bfloat16 has three digits, and is then scaled up."""
    module = SiameseModule(SMALL, SIZE, warmup=None)
    seen: list[Tensor] = []
    module.score.register_forward_hook(lambda *it: seen.append(it[2]))
    trainer_of(max_steps=1, precision="bf16-mixed").fit(module, one_batch(photo_batch(4, 1)))
    assert [logits.dtype for logits in seen] == [torch.float32]
    assert len(seen[0].detach().unique()) > 12  # 16 numbers, not rounded onto each other


@pytest.mark.parametrize(
    ("loss", "batch", "needed"),
    [
        ("bare_sigmoid", NOISE, "pairs"),
        ("infonce", PairBatch(NOISE.pixels, NOISE.pixels, NOISE.is_person), "products"),
    ],
)
def test_batches_that_the_loss_is_not_made_for_are_refused(
    loss: Loss, batch: Any, needed: str
) -> None:
    with pytest.raises(UserError, match=f"{loss} needs data.batches: {needed}"):
        trainer_of(max_steps=1).fit(SiameseModule(SMALL, SIZE, loss=loss), one_batch(batch))


@pytest.mark.parametrize("backbone", ["report_cnn", "colour_histogram"])
def test_a_training_without_anything_to_train_is_refused(backbone: str) -> None:
    config = EncoderConfig(backbone, 512)
    module = SiameseModule(config, SIZE, freeze_backbone=backbone == "report_cnn")
    with pytest.raises(UserError, match="nothing to train"):
        trainer_of(max_steps=1).fit(module, one_batch(photo_batch(3, 1)))


def test_a_recipe_without_training_may_have_nothing_to_train() -> None:
    module = SiameseModule(EncoderConfig("colour_histogram", 512), SIZE)
    trainer_of(max_epochs=0).fit(module, one_batch(photo_batch(3, 1)))


def test_a_schedule_without_an_end_is_refused() -> None:
    with pytest.raises(UserError, match=r"set trainer\.max_epochs"):
        trainer_of(max_epochs=-1).fit(SiameseModule(SMALL, SIZE), one_batch(photo_batch(3, 1)))


def test_the_rate_rises_in_the_warm_up_and_falls_to_nothing() -> None:
    """20 steps, of which 5 rise: 1/5, 2/5, …, 1, then half a cosine."""
    module = SiameseModule(SMALL, SIZE, learning_rate=0.1, warmup=0.25)
    rates: list[float] = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    trainer_of(max_epochs=20, callbacks=[Rates()]).fit(module, one_batch(photo_batch(3, 1)))
    assert rates[:6] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])
    expected = [0.05 * (1 + math.cos(math.pi * step / 15)) for step in range(15)]
    assert rates[5:] == pytest.approx(expected)


def test_weight_decay_is_of_matrices_and_kernels_alone() -> None:
    module = SiameseModule(SMALL, SIZE, weight_decay=0.3, warmup=None)
    decayed, free = module.configure_optimizers().param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    names = {id(p): name for name, p in module.named_parameters()}
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert {"score.bias", "score.log_scale"} <= {names[id(p)] for p in free["params"]}
    assert len(decayed["params"]) + len(free["params"]) == len(names)


def test_the_backbone_may_have_a_share_of_the_rate() -> None:
    """Its weights get a tenth, the neck and the score all of it; and so through the schedule."""
    module = SiameseModule(SMALL, SIZE, learning_rate=0.1, backbone_rate=0.1, weight_decay=0.3)
    rates: list[list[float]] = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    trainer = trainer_of(max_epochs=4, callbacks=[Rates()])
    trainer.fit(module, one_batch(photo_batch(3, 1)))
    backbone = {id(p) for p in module.encoder.backbone.parameters()}
    kinds = []
    for group in trainer.optimizers[0].param_groups:
        (inside,) = {id(p) in backbone for p in group["params"]}
        (decays,) = {p.ndim >= 2 for p in group["params"]}
        assert group["initial_lr"] == pytest.approx(0.01 if inside else 0.1)
        assert group["weight_decay"] == (0.3 if decays else 0.0)
        kinds.append((inside, decays))
    assert len(set(kinds)) == len(kinds) == 4
    for step, factor in zip(rates, [1, 1, 0.75, 0.25], strict=True):
        expected = [factor * (0.01 if inside else 0.1) for inside, _ in kinds]
        assert step == pytest.approx(expected)


def test_a_frozen_backbone_has_no_gradient_to_work_out() -> None:
    """Neither its input nor its weights want one, so PyTorch keeps nothing for a way back."""
    frozen = SiameseModule(SMALL, SIZE, freeze_backbone=True)
    photos = frozen.preprocessing.normalise(NOISE.pixels)
    assert not frozen.encoder.backbone(photos).requires_grad
    assert frozen.encoder(photos).requires_grad
    assert SiameseModule(SMALL, SIZE).encoder.backbone(photos).requires_grad


def test_eight_products_are_learned_by_heart(rendered: Path, tmp_path: Path) -> None:
    """The loss falls, and every person of the training split finds its product first."""
    data = data_of(rendered, tmp_path, products_per_batch=8, view_strength=0.3, erase=0.0)
    torch.manual_seed(0)
    module = SiameseModule(EncoderConfig(widths=(16, 32), depth=1, embedding_size=16), SIZE)
    losses: list[float] = []

    class Losses(Callback):
        def on_train_batch_end(
            self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: Any
        ) -> None:
            losses.append(float(outputs["loss"]))

    trainer_of(max_epochs=80, callbacks=[Losses()], check_val_every_n_epoch=80).fit(module, data)
    assert sum(losses[-5:]) / 5 < 0.25 * losses[0]
    frame, cached = data.part("train")
    product, is_person = (torch.from_numpy(array) for array in codes(frame))
    with torch.inference_mode():
        e = module.eval()(torch.from_numpy(cached.pixels[cached.slot]))
    report = measure(e[is_person], product[is_person], e[~is_person], product[~is_person])
    assert report.top[1] == 1.0


def test_validation_figures_are_those_of_all_validation_photos(
    rendered: Path, tmp_path: Path
) -> None:
    data = data_of(rendered, tmp_path)
    module = SiameseModule(SMALL, SIZE)
    trainer = trainer_of(max_epochs=1)
    trainer.fit(module, data)
    frame, cached = data.part("validation")
    product, is_person = (torch.from_numpy(array) for array in codes(frame))
    with torch.inference_mode():
        e = module.eval()(torch.from_numpy(cached.pixels[cached.slot]))
    report = measure(e[is_person], product[is_person], e[~is_person], product[~is_person])
    figures = trainer.callback_metrics
    assert figures["validation/top_1"].item() == pytest.approx(report.top[1])
    assert figures["validation/mean_reciprocal_rank"].item() == pytest.approx(
        report.mean_reciprocal_rank
    )
    assert torch.equal(module.validated.product, product)  # rows in the order of the table


def test_a_diverged_training_stops_with_the_remedy(rendered: Path, tmp_path: Path) -> None:
    module = SiameseModule(SMALL, SIZE, optimiser="sgd", learning_rate=math.inf, warmup=None)
    with pytest.raises(UserError, match="diverged; lower its learning_rate"):
        trainer_of(max_epochs=1).fit(module, data_of(rendered, tmp_path))


def test_a_frozen_backbone_keeps_its_weights_and_batch_statistics(
    rendered: Path, tmp_path: Path
) -> None:
    """After training epochs with validations between: the trainer changes modes there."""
    module = SiameseModule(SMALL, SIZE, freeze_backbone=True, learning_rate=0.1, warmup=None)
    before = copy.deepcopy(module.encoder.state_dict())
    trainer_of(max_epochs=3).fit(module, data_of(rendered, tmp_path))
    after = module.encoder.state_dict()
    same = {name: torch.equal(before[name], after[name]) for name in before}
    assert all(equal for name, equal in same.items() if name.startswith("backbone."))
    assert not same["neck.0.weight"]
    assert not same["neck.1.running_mean"]


def test_without_freezing_weights_and_statistics_move(rendered: Path, tmp_path: Path) -> None:
    """The same training as above, so that its test can fail."""
    module = SiameseModule(SMALL, SIZE, learning_rate=0.1, warmup=None)
    before = copy.deepcopy(module.encoder.state_dict())
    trainer_of(max_epochs=3).fit(module, data_of(rendered, tmp_path))
    after = module.encoder.state_dict()
    assert not any(
        torch.equal(before[name], after[name])
        for name in before
        if name.endswith(("weight", "running_mean"))
    )
