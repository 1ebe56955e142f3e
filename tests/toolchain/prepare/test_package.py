import subprocess
import sys
import tarfile
from pathlib import Path

from toolchain.prepare.package import tarball


def test_the_tarball_holds_a_launcher_that_runs_the_plugin_with_the_projects_python(tmp_path: Path) -> None:
    project = tmp_path / "a project's place"
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to(sys.executable)
    plugin = project / "toolchain" / "fake_plugin"
    plugin.mkdir(parents=True)
    (plugin / "__main__.py").write_text("import sys; print(sys.argv[1:])")
    with tarfile.open(tarball(project, "fake", tmp_path / "made" / "fake.tar.gz")) as archive:
        assert archive.getnames() == ["pulumi-resource-fake"]
        archive.extractall(tmp_path / "installed")  # noqa: S202 our own
    result = subprocess.run([tmp_path / "installed" / "pulumi-resource-fake", "127.0.0.1:1"], capture_output=True, text=True, check=True)
    assert result.stdout == "['127.0.0.1:1']\n"


def test_the_same_project_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (tarball(tmp_path, "fake", tmp_path / name).read_bytes() for name in ("1", "2"))
    assert first == second
    assert tarball(tmp_path / "other", "fake", tmp_path / "3").read_bytes() != first
