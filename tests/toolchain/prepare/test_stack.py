"""The local stack's passphrase, and that it is selected."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from toolchain.prepare import stack
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError


@pytest.fixture
def prepared(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project with a Pulumi.yaml, and an environment in which the user set nothing."""
    (layout.project / "Pulumi.yaml").write_text("name: example\nruntime: python\nstackConfigDir: stacks\n")
    (layout.project / "stacks").mkdir()
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)
    return layout


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """Stands in for the engine: notes its arguments and the passphrase file, and makes the stack's state."""
    file = tmp_path / "pulumi"
    file.write_text(
        '#!/bin/sh\nstate="${PULUMI_BACKEND_URL#file://}/.pulumi/stacks/example"\nmkdir -p "$state" && touch "$state/local.json"\n'
        f'echo "$* $PULUMI_CONFIG_PASSPHRASE_FILE" >> "{tmp_path}/calls"\n'
    )
    file.chmod(0o755)
    return file


def calls(engine: Path) -> list[str]:
    file = engine.with_name("calls")
    return file.read_text().splitlines() if file.exists() else []


def test_a_passphrase_is_made_once_and_only_its_owner_can_read_it(prepared: Layout, engine: Path) -> None:
    stack.prepare(prepared, str(engine))
    first = prepared.passphrase.read_text()
    assert len(first) >= 40
    assert prepared.passphrase.stat().st_mode & 0o777 == 0o600
    stack.prepare(prepared, str(engine))
    assert prepared.passphrase.read_text() == first
    assert calls(engine) == [f"stack select --create local --non-interactive {prepared.passphrase}"]


@pytest.mark.parametrize("name", ["PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"])
def test_the_users_own_passphrase_is_used(prepared: Layout, engine: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "mine")
    stack.prepare(prepared, str(engine))
    assert not prepared.passphrase.exists()


def test_an_empty_passphrase_is_one_too(prepared: Layout) -> None:
    assert stack.has_own_passphrase({"PULUMI_CONFIG_PASSPHRASE": ""})
    assert not stack.has_own_passphrase({"PULUMI_CONFIG_PASSPHRASE_FILE": ""})


def test_a_stack_encrypted_elsewhere_is_refused_with_a_way_out(prepared: Layout, engine: Path) -> None:
    config = prepared.project / "stacks" / "Pulumi.local.yaml"
    config.write_text("config: {}\n")
    stack.prepare(prepared, str(engine))
    prepared.passphrase.unlink()
    config.write_text("encryptionsalt: v1:abc\nconfig: {}\n")
    with pytest.raises(PrepareError, match="PULUMI_CONFIG_PASSPHRASE"):
        stack.prepare(prepared, str(engine))
    assert not prepared.passphrase.exists()


def test_a_stack_that_is_gone_is_made_again(prepared: Layout, engine: Path) -> None:
    stack.prepare(prepared, str(engine))
    (prepared.project / ".pulumi-state" / ".pulumi" / "stacks" / "example" / "local.json").unlink()
    stack.prepare(prepared, str(engine))
    assert len(calls(engine)) == 2


def test_another_backend_is_selected_anew(prepared: Layout, engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.prepare(prepared, str(engine))
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path / 'other'}")
    stack.prepare(prepared, str(engine))
    assert len(calls(engine)) == 2


def test_what_the_engine_complains_about_is_told_on_one_line(prepared: Layout, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'error: no such\n  bucket' >&2\nexit 255\n")
    broken.chmod(0o755)
    with pytest.raises(PrepareError, match=r"error: no such bucket$"):
        stack.prepare(prepared, str(broken))


@pytest.mark.e2e
def test_the_real_engine_makes_and_selects_it(prepared: Layout, project: Path, tmp_path: Path) -> None:
    import shutil

    from toolchain.prepare.layout import load

    found = shutil.which("pulumi", path=stack.variables(load(project))["PATH"])
    assert found
    environ = {**stack.variables(prepared), "PULUMI_HOME": str(tmp_path / "home")}
    os.environ["PULUMI_HOME"] = environ["PULUMI_HOME"]
    try:
        stack.prepare(prepared, found)
    finally:
        del os.environ["PULUMI_HOME"]
    environ["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(prepared.passphrase)
    result = subprocess.run([found, "stack", "ls", "--json"], cwd=prepared.project, env=environ, capture_output=True, text=True, check=True)
    [only] = json.loads(result.stdout)
    assert (only["name"], only["current"]) == ("local", True)
