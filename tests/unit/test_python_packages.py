"""run_python with packages of a folder that the operator filled: named, read-only, and no others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.errors import BadArguments, ConfigurationError
from agent.sandbox.bubblewrap import Bubblewrap
from agent.sandbox.fake import FakeSandbox
from agent.sandbox.landlock import Landlock
from agent.tools.base import Preview, ToolContext, ToolResult
from agent.tools.packages import Packages, load_packages
from agent.tools.python import RunPython


@pytest.fixture
def folder() -> Iterator[Path]:
    """As `pip install --target` leaves it; programs run as somebody who owns nothing, so it is open to all."""
    with tempfile.TemporaryDirectory(prefix="secondkey-packages-") as name:
        Path(name).chmod(0o755)
        place = Path(name, "packages")
        for package, version in (("little_sums", "1.2"), ("Other.Thing", "0.1")):
            about = place / f"{package}-{version}.dist-info"
            about.mkdir(parents=True)
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        (place / "little_sums.py").write_text("def twice(number):\n    return 2 * number\n")
        yield place


def context(tmp_path: Path, sandbox: Any) -> ToolContext:
    project = tmp_path / "project"
    project.mkdir(exist_ok=True)
    (project / "a.txt").write_text("one\n")
    return ToolContext(run="r1", workspace=tmp_path / "workspaces" / "r1", project=project, sandbox=sandbox)


async def run(tool: RunPython, where: ToolContext, code: str, *packages: str) -> ToolResult:
    arguments = await tool.bind(tool.parse({"code": code, "packages": list(packages)}), where)
    return await tool.run(arguments, where, Preview())


def test_the_model_is_told_the_names_and_versions_and_a_changed_set_is_another_tool(folder: Path) -> None:
    packages = load_packages(folder)
    assert packages.words == "little-sums 1.2, other-thing 0.1"
    tool = RunPython(packages)
    assert tool.schema["properties"]["packages"]["items"]["enum"] == ["little-sums", "other-thing"]
    assert packages.words in tool.description
    newer = Packages(packages.folder, {**packages.versions, "little-sums": "1.3"})
    assert RunPython(newer).schema_hash != tool.schema_hash
    assert "packages" not in RunPython().schema["properties"]


async def test_a_package_that_is_not_in_the_set_is_refused_by_name_with_those_that_are(
    folder: Path, tmp_path: Path
) -> None:
    tool, where = RunPython(load_packages(folder)), context(tmp_path, FakeSandbox())
    for name in ("requests", "../x", "little_sums; import os", "", "x" * 100_000):
        with pytest.raises(BadArguments, match=r"There are: little-sums 1\.2, other-thing 0\.1") as caught:
            await run(tool, where, "1", "little_sums", name)
        assert len(str(caught.value)) < 300
    with pytest.raises(ValidationError):
        RunPython().parse({"code": "1", "packages": ["little-sums"]})


@pytest.mark.parametrize(
    "sandbox", [pytest.param(Bubblewrap, marks=pytest.mark.needs("bwrap")), Landlock], ids=["bubblewrap", "landlock"]
)
async def test_a_named_package_is_imported_read_only_and_only_when_it_is_named(
    folder: Path, tmp_path: Path, sandbox: Any
) -> None:
    tool, where = RunPython(load_packages(folder)), context(tmp_path, sandbox())
    code = f"""
import little_sums, pathlib
print(little_sums.twice(21), pathlib.Path("a.txt").read_text().strip())
try:
    pathlib.Path({str(folder)!r}, "little_sums.py").write_text("x")
except OSError as error:
    print("kept", type(error).__name__)
"""
    result = await run(tool, where, code, "Little.Sums")
    assert result.data["stdout"].startswith("42 one\nkept ")
    assert "def twice" in (folder / "little_sums.py").read_text()
    unnamed = await run(tool, where, "import little_sums")
    assert "No module named 'little_sums'" in unnamed.data["stderr"]


async def test_the_current_folder_cannot_stand_in_for_a_module(folder: Path, tmp_path: Path) -> None:
    sandbox = FakeSandbox()
    await run(RunPython(load_packages(folder)), context(tmp_path, sandbox), "1", "little-sums")
    (call,) = sandbox.calls
    assert "-P" in call.command
    assert call.environment == {"PYTHONPATH": str(folder)}
    assert folder in call.read_only


def test_a_virtual_environment_of_this_python_will_do_and_another_will_not(folder: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    environment.mkdir()
    (environment / "pyvenv.cfg").write_text("")
    with pytest.raises(ConfigurationError, match="another Python"):
        load_packages(environment)
    inner = environment / "lib" / load_packages.__globals__["_HERE"]
    inner.mkdir(parents=True)
    folder.rename(inner / "site-packages")
    assert load_packages(environment).names == ("little-sums", "other-thing")


def test_a_folder_without_packages_is_refused_with_the_line_to_type(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigurationError) as caught:
            load_packages(place)
        assert "--require-hashes" in caught.value.fix
