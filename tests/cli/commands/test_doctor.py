"""`isthmus doctor` tells what is there, from where, and what to do about what is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.cli.commands.doctor import findings as doctor
from isthmus.cli.commands.doctor.findings import Finding

COMPONENTS = Path(__file__).parents[3] / "components"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing but an official engine and its language host; no Pulumi settings."""
    folder = tmp_path / "bin"
    folder.mkdir()
    put(folder / "pulumi", "v3.260.1")
    put(folder / "pulumi-language-python", "3.260.1")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE", "ISTHMUS_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    return folder


def put(file: Path, version: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\necho {version}\n")
    file.chmod(0o755)


def finding(project: Path, name: str) -> Finding:
    [found] = [one for one in doctor.report(project) if one.name == name]
    return found


def test_an_official_engine_on_path_is_found(tools: Path, tmp_path: Path) -> None:
    found = finding(tmp_path, "pulumi")
    assert (found.version, found.where, found.source, found.ok) == ("3.260.1", str(tools / "pulumi"), "official, on PATH", True)
    assert finding(tmp_path, "pulumi-language-python").ok


def test_an_engine_that_is_too_old_says_what_to_do(tools: Path, tmp_path: Path) -> None:
    put(tools / "pulumi", "v3.100.0")
    found = finding(tmp_path, "pulumi")
    assert not found.ok
    assert "3.259.0 or newer" in found.fix


def test_a_missing_engine_or_language_host_says_what_to_do(tools: Path, tmp_path: Path) -> None:
    (tools / "pulumi-language-python").unlink()
    host = finding(tmp_path, "pulumi-language-python")
    assert not host.ok
    assert "make up" in host.fix
    (tools / "pulumi").unlink()
    assert "make up" in finding(tmp_path, "pulumi").fix


@pytest.mark.parametrize(("source", "shown"), [("build", "built from the Go module"), ("download", "official, downloaded")])
def test_an_engine_of_the_project_tells_how_it_came(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, shown: str
) -> None:
    own = tmp_path / ".toolchain" / "bin"
    put(own / "pulumi", "v3.259.0")
    put(own / "pulumi-language-python", "3.259.0")
    (tmp_path / ".toolchain" / "engine.json").write_text(json.dumps({"source": source}))
    monkeypatch.setenv("PATH", f"{own}:{tools}")
    assert finding(tmp_path, "pulumi").source == shown
    assert ("fall-back" in finding(tmp_path, "pulumi-language-python").source) is (source == "build")


def test_the_passphrases_source_is_told_but_never_its_value(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not finding(tmp_path, "passphrase").ok
    file = tmp_path / ".isthmus" / "passphrase"
    file.parent.mkdir()
    file.write_text("open-sesame")
    assert "activate" in finding(tmp_path, "passphrase").fix
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", str(file))
    assert finding(tmp_path, "passphrase").ok
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "open-sesame")
    assert finding(tmp_path, "passphrase").source == "PULUMI_CONFIG_PASSPHRASE"
    doctor.show(tmp_path)
    assert "open-sesame" not in capsys.readouterr().out


def test_tensorflow_is_found_without_being_imported(tools: Path, tmp_path: Path) -> None:
    code = (
        f"import sys, pathlib; sys.path.insert(0, {str(COMPONENTS)!r})\n"
        "from isthmus.cli.commands.doctor import findings as doctor\n"
        f"found = [f for f in doctor.report(pathlib.Path({str(tmp_path)!r})) if f.name == 'tensorflow']\n"
        "print(found[0].ok, 'tensorflow' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "False"]


def test_a_cache_that_cannot_be_written_says_what_to_do(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding(tmp_path, "cache").ok
    (tmp_path / "file").touch()
    monkeypatch.setenv("ISTHMUS_CACHE_DIR", str(tmp_path / "file" / "cache"))
    found = finding(tmp_path, "cache")
    assert not found.ok
    assert "ISTHMUS_CACHE_DIR" in found.fix


def test_the_table_ends_with_what_to_do_and_a_status(tools: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tools / "pulumi").unlink()
    assert doctor.show(tmp_path) == 1
    assert "pulumi: run `make up`" in capsys.readouterr().out
