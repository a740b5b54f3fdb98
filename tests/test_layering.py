"""The inference package stands without the training data, and nobody mixes up `datasets`."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
THIRD_PARTY = ["albumentations", "lancedb", "pytorch_lightning", "sklearn", "timm", "wandb"]


def imported_packages(source: str) -> set[str]:
    """Top-level names of everything that the code imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_the_check_sees_every_form_of_import() -> None:
    code = "def f():\n    from datasets.splits import x\nif y:\n    import datasets.manifest as m"
    assert imported_packages(code) == {"datasets"}


def test_nothing_in_siamese_imports_datasets() -> None:
    files = sorted((ROOT / "siamese").rglob("*.py"))
    assert files
    offenders = [f for f in files if "datasets" in imported_packages(f.read_text("utf-8"))]
    assert offenders == []


def test_no_dependency_brings_in_the_foreign_datasets_package() -> None:
    """Run from the root, their `import datasets` would get ours; so none may ask for it."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try: importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        if error.name != name: raise\n"
        "print('datasets' in sys.modules)"
    )
    environment = {
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "WANDB_MODE": "offline",
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *THIRD_PARTY],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("False")


def test_no_wheel_is_made_that_could_hold_datasets() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["tool"]["uv"]["package"] is False
    assert "build-system" not in project
    locked = [line.split(">")[0].split("=")[0] for line in project["project"]["dependencies"]]
    assert "datasets" not in locked


def test_the_datasets_package_says_that_it_shadows_another() -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / "datasets" / "__init__.py").read_text("utf-8")))
    assert docstring is not None
    assert "Hugging Face" in docstring
    assert "wheel" in docstring
