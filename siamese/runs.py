"""What a training run leaves behind besides weights: its cost, history and reports, compared."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from siamese.evaluation_report import Evaluation, from_dict, side_by_side
from siamese.files import replacing

TARGET = "validation/mean_reciprocal_rank"


@dataclass(frozen=True)
class Cost:
    """What a training took, all epochs with their validation; not drawing, decoding and reports.

    Photos per second count every pass of a photo through the encoder.
    """

    seconds: float
    images_per_second: float
    peak_memory_gib: float
    parameters: int


@dataclass(frozen=True)
class Run:
    """A finished training.

    Args:
        cost: Of the training.
        history: Per epoch `epoch`, `seconds` since the start, loss and validation figures.
        evaluation: Reports on the test split.
    """

    cost: Cost
    history: list[dict[str, float]]
    evaluation: Evaluation

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        content = {
            "cost": asdict(self.cost),
            "history": self.history,
            **self.evaluation.as_dict(),
        }
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2))

    def best(self) -> float:
        """The best mean reciprocal rank on validation products; 0 for an untrained recipe."""
        return max((row.get(TARGET, 0.0) for row in self.history), default=0.0)

    def seconds_to(self, target: float) -> float | None:
        """Seconds of training until that figure was reached; None if it never was."""
        reached = (row["seconds"] for row in self.history if row.get(TARGET, 0.0) >= target)
        return next(reached, None)


def read_run(path: Path) -> Run:
    """What `Run.save` wrote."""
    content = json.loads(path.read_text())
    return Run(Cost(**content["cost"]), content["history"], from_dict(content))


def compare_runs(runs: dict[str, Run]) -> str:
    """Both reports and the costs as text tables, the recipes side by side."""
    first = next(iter(runs.values()))
    rows = []
    for name, run in runs.items():
        reached = first.seconds_to(run.best()) if run.history else None
        rows.append(
            {
                "recipe": name,
                "seconds": f"{run.cost.seconds:.0f}",
                "images/s": f"{run.cost.images_per_second:.0f}",
                "peak memory": f"{run.cost.peak_memory_gib:.1f} GiB",
                "parameters": f"{run.cost.parameters:,}",
                "best validation MRR": f"{run.best():.3f}",
                f"reached by {next(iter(runs))} in": "-" if reached is None else f"{reached:.0f} s",
            }
        )
    hidden = [column for column in rows[0] if column.startswith("reached")]
    table = pd.DataFrame(rows).drop(columns=[] if len(runs) > 1 else [*hidden, "recipe"])
    evaluations = {name if len(runs) > 1 else "": run.evaluation for name, run in runs.items()}
    return f"{side_by_side(evaluations)}\n\nCost of training\n{table.to_string(index=False)}"
