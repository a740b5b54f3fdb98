"""Two embeddings → probability that both photos show the same product, and the losses on it.

Shapes: Q person photos, N product photos, D embedding size, P pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from siamese.errors import UserError


class PairScore(nn.Module):
    """cosine → scale · cosine + bias, the logit of "the same product".

    The LookBook report takes the sigmoid of the bare cosine (scale 1, bias 0): its score lies in
    [.269, .731], so that easy pairs never stop pulling and an ideal negative scores .5. A learned
    scale and bias cure both (Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training).

    Args:
        scale: Start of the scale; the default is that of Zhai et al.
        bias: Start of the bias; −ln(N − 1) makes the first guess right for N products of which
            one matches.
        learned: Whether training moves both.
    """

    def __init__(self, scale: float = 10.0, bias: float = 0.0, learned: bool = True) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learned)
        self.bias = nn.Parameter(torch.tensor(float(bias)), requires_grad=learned)

    def forward(self, cosine: Tensor) -> Tensor:
        """Cosines in [-1, 1], any shape, → logits of the same shape."""
        return cosine * self.log_scale.exp() + self.bias


def all_pairs_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """Sum over all pairs of a batch of the binary cross-entropy, per person photo.

    Args:
        logits: float (Q, N), a row per person photo, a column per product photo.
        positive: bool (Q, N), where both show the same product; several per row are allowed.

    Returns:
        Scalar; the sigmoid loss of Zhai et al. 2023 where one product photo matches each row.
    """
    loss = functional.binary_cross_entropy_with_logits(logits, positive.float(), reduction="sum")
    return loss / logits.shape[0]


def drawn_pairs_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Mean binary cross-entropy over drawn pairs (the report's): logits and 0/1 labels, (P,)."""
    return functional.binary_cross_entropy_with_logits(logits, label.float())


def info_nce_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """Each row picks one of its positives among all negatives (van den Oord et al. 2018).

    With several positives in a row, the mean over them, each against the negatives alone.

    Args:
        logits: float (Q, N).
        positive: bool (Q, N), at least one per row.
    """
    negatives = logits.masked_fill(positive, -torch.inf).logsumexp(dim=1, keepdim=True)
    per_pair = functional.softplus(negatives - logits)
    return ((per_pair * positive).sum(dim=1) / positive.sum(dim=1)).mean()


def supervised_contrastive_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """Mean log-likelihood of a row's positives among all columns (Khosla et al. 2020, eq. 2).

    Args:
        logits: float (Q, N).
        positive: bool (Q, N), at least one per row.
    """
    log_likelihood = logits - logits.logsumexp(dim=1, keepdim=True)
    return -((log_likelihood * positive).sum(dim=1) / positive.sum(dim=1)).mean()


@dataclass(frozen=True)
class Calibration:
    """Fitted on validation pairs after training: cosine → probability, and where to say yes.

    Args:
        scale: Factor of the cosine in the logit.
        bias: Added to it.
        threshold: Probability from which a pair counts as the same product.
        catalog_threshold: Probability from which a photo's product counts as in a catalog. Where
            it was fitted, as in checkpoints of before, it served other catalogs worse than .5.
        sharpness: Factor of the log odds when products of a catalog are weighed against each
            other; below 1 where look-alikes make mistakes likelier than the pairs' odds say.
        presence_scale: Factor of a catalog's evidence in the logit of "it is in here at all".
        presence_bias: Added to it.
        evidence_sharpness: How much the best products count beyond all others in the evidence;
            at 1 it is Bayes' rule, far above the best one's log odds alone.
        cohort_weight: How much of a cohort's evidence is taken off the catalog's, from 0 to 1,
            see `siamese.cohort`.
    """

    scale: float = 1.0
    bias: float = 0.0
    threshold: float = 0.5
    catalog_threshold: float = 0.5
    sharpness: float = 1.0
    presence_scale: float = 1.0
    presence_bias: float = 0.0
    evidence_sharpness: float = 1.0
    cohort_weight: float = 0.0

    @property
    def known_threshold(self) -> float | None:
        """`catalog_threshold`; `None` if nothing was fitted, so that probabilities mean nothing."""
        return None if self == Calibration() else self.catalog_threshold

    def probability(self, cosine: Tensor) -> Tensor:
        """Probability in (0, 1) that both photos show the same product, shape of `cosine`."""
        return torch.sigmoid(cosine * self.scale + self.bias)

    def among(self, scores: Tensor, cohort: Tensor | None = None) -> Tensor:
        """Which of N products it is, or none: Bayes' rule over a whole catalog, recalibrated.

        The odds of a pair are a likelihood ratio, because they were fitted on as many right as
        wrong pairs. Beforehand the odds are even that the product is among the N at all, and
        each is as likely. So the larger the catalog, the more the best product must stand out.
        Look-alikes are no independent evidence: the last five fields, fitted on validation
        catalogs, correct for that; at 1, 1, 0, 1 and 0 this is Bayes' rule itself.

        Args:
            scores: Best cosine of each product, float (Q, N).
            cohort: What `Cohort.cosines` gives, float (Q, any); `None` where there is no cohort,
                so that `cohort_weight` is 0.

        Returns:
            float64 (Q, N + 1): probability of each product, and of none of them, summing to 1.

        Raises:
            ValueError: It was fitted with a cohort, and there is none.
        """
        if cohort is None and self.cohort_weight:
            raise ValueError("this calibration was fitted with a cohort: give its cosines")
        odds = scores.double() * self.scale + self.bias
        evidence = self.evidence(scores)
        if cohort is not None:
            evidence = evidence - self.cohort_weight * self.evidence(cohort)
        present = torch.sigmoid(self.presence_scale * evidence + self.presence_bias)
        each = (self.sharpness * odds).softmax(dim=1) * present[:, None]
        return torch.cat([each, 1 - present[:, None]], dim=1)

    def evidence(self, scores: Tensor) -> Tensor:
        """Log odds that the product is one of N, each as likely beforehand: float64 (Q,).

        Args:
            scores: Best cosine of each product, float (Q, N); those of −inf do not count.
        """
        counted = scores.isfinite()
        odds = scores.double() * self.scale + self.bias
        sharp = (self.evidence_sharpness * odds).masked_fill(~counted, -torch.inf)
        mean = sharp.logsumexp(dim=1) - counted.sum(dim=1).clamp(min=1).double().log()
        # Where none counts, as if there were but the opposite of the query.
        return (mean / self.evidence_sharpness).clamp(min=self.bias - self.scale)


def fit_calibration(cosine: Tensor, same: Tensor, raw: Calibration | None = None) -> Calibration:
    """Platt scaling (Platt 1999) and the threshold of the best accuracy, both on balanced pairs.

    Where cosines of the same product are no higher than others, every pair's odds are even.

    Args:
        cosine: float (P,), cosines of validation pairs.
        same: bool (P,), whether each is of one product. Both kinds are weighted to one half.
        raw: If given, its scale and bias are kept, and the threshold alone is fitted.

    Raises:
        UserError: There are not pairs of both kinds.
    """
    from sklearn.linear_model import LogisticRegression

    if not (bool(same.any()) and bool((~same).any())):
        raise UserError("a threshold needs validation pairs of both kinds: same and different")
    if raw is None:
        model = LogisticRegression(class_weight="balanced", C=1e4, max_iter=1000)
        model.fit(cosine.double().numpy()[:, None], same.numpy())
        informed = model.coef_[0, 0] > 0  # else the likest product would be the least probable
        line = (float(model.coef_[0, 0]), float(model.intercept_[0])) if informed else (0.0, 0.0)
        raw = Calibration(*line)
    probability = raw.probability(cosine.double())
    return replace(raw, threshold=best_threshold(probability, same))


def best_threshold(probability: Tensor, same: Tensor) -> float:
    """Midway between the two neighbouring probabilities that part the pairs best."""
    ordered, order = probability.sort()
    truth = same[order].double()
    positives, negatives = truth.sum(), (1 - truth).sum()
    # Threshold i lies below ordered[i]: everything from i on is called the same product.
    found = torch.cat([positives[None], positives - truth.cumsum(0)]) / positives
    refused = torch.cat([torch.zeros(1).double(), (1 - truth).cumsum(0)]) / negatives
    possible = torch.ones(len(found), dtype=torch.bool)
    possible[1:-1] = ordered[1:] > ordered[:-1]  # no threshold parts two equal probabilities
    best = int((found + refused).masked_fill(~possible, -1).argmax())
    edges = torch.cat([torch.zeros(1).double(), ordered, torch.ones(1).double()])
    below, above = float(edges[best]), float(edges[best + 1])
    middle = (below + above) / 2
    return middle if middle > below else above  # neighbouring floats have none between them
