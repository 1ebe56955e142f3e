"""A stack's passphrase and name, that it exists, and that `local` is selected."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toolchain.prepare import stack
from toolchain.prepare.__main__ import main
from toolchain.prepare.layout import Layout, load
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
    """Stands in for the engine: notes its arguments and the passphrase file, makes the stack's state, and writes a salt as the real one."""
    file = tmp_path / "pulumi"
    file.write_text(
        '#!/bin/sh\nstate="${PULUMI_BACKEND_URL#file://}/.pulumi/stacks/example"\nmkdir -p "$state"\n'
        f'echo "$* $PULUMI_CONFIG_PASSPHRASE_FILE" >> "{tmp_path}/calls"\n'
        'case "$2" in init) touch "$state/$3.json"; mkdir -p stacks; echo encryptionsalt: v1:x >> "stacks/Pulumi.$3.yaml"; exit;;\n'
        "    select) name=$3;; --show-name) name=$4;; esac\n"
        'test -f "$state/$name.json" || { echo "error: no stack named \'$name\' found" >&2; exit 255; }\n'
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
    for folder in (prepared.data, prepared.project / ".pulumi-state"):
        assert folder.stat().st_mode & 0o777 == 0o700
        folder.chmod(0o755)
    stack.prepare(prepared, str(engine))
    assert prepared.passphrase.read_text() == first
    assert prepared.data.stat().st_mode & 0o777 == (prepared.project / ".pulumi-state").stat().st_mode & 0o777 == 0o700
    select, create = "stack select local --non-interactive", "stack init local --no-select --non-interactive"
    assert calls(engine) == [f"{call} {prepared.passphrase}" for call in (select, create, select)]


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
    before = len(calls(engine))
    (prepared.project / ".pulumi-state" / ".pulumi" / "stacks" / "example" / "local.json").unlink()
    stack.prepare(prepared, str(engine))
    assert len(calls(engine)) == 2 * before


def test_the_users_file_stays_as_it_is_and_the_engine_gets_a_copy(prepared: Layout, engine: Path) -> None:
    config, copy = prepared.project / "stacks" / "Pulumi.local.yaml", stack.config_copy(prepared)
    for content in ("# mine\nconfig: {}\n", "# changed\nconfig: {}\n"):
        config.write_text(content)
        stack.prepare(prepared, str(engine))
        assert config.read_text() == copy.read_text() == content
        assert copy.stat().st_mode & 0o777 == 0o600  # it may have secrets in it that nobody encrypted
        copy.write_text("encryptionsalt: v1:x\n" + content)  # as the engine does
    assert sorted(file.name for file in prepared.data.iterdir()) == ["passphrase", "stacks"]
    config.unlink()
    stack.prepare(prepared, str(engine))
    assert copy.read_text() == ""


def test_a_stack_that_is_named_is_made_beside_and_not_selected(prepared: Layout, engine: Path) -> None:
    config = prepared.project / "stacks" / "Pulumi.cameras-2.yaml"
    config.write_text("config: {}\n")
    for _ in range(2):
        stack.prepare(prepared, str(engine), "cameras-2")
    look, create = "stack --show-name --stack cameras-2 --non-interactive", "stack init cameras-2 --no-select --non-interactive"
    assert calls(engine) == [f"{call} {prepared.passphrase}" for call in (look, create, look)]
    assert stack.config_copy(prepared, "cameras-2").read_text() == config.read_text() == "config: {}\n"
    stack.prepare(prepared, str(engine))  # the other one is looked for by itself
    assert len(calls(engine)) == 6
    stack.prepare(prepared, str(engine), "cameras-2")
    assert len(calls(engine)) == 6


ODD = ["", "nothing", "../stacks/Pulumi.local", "--help", "-x", "$(touch made)", "a b", "a\nb", "\u202e", "\udcff", "x" * 70]
TAKEN = ["stacks", "passphrase"]
"""What else lies where a stack's own data would."""


@pytest.mark.parametrize("name", [*ODD, *TAKEN])
def test_a_name_that_is_none_is_one_error_with_those_that_are(prepared: Layout, name: str) -> None:
    for there in ("local", "cameras", *TAKEN, "-x", "a b", "$(touch made)", "x" * 70):
        (prepared.project / "stacks" / f"Pulumi.{there}.yaml").touch()
    with pytest.raises(PrepareError) as refused:
        stack.check_name(prepared, name)
    assert str(refused.value).endswith(" in stacks/; expected one of cameras, local, as in `make up STACK=cameras`")
    assert str(refused.value).isprintable()
    stack.check_name(prepared, "cameras")


def test_a_project_without_stack_files_says_so(prepared: Layout) -> None:
    with pytest.raises(PrepareError, match=r"there is no stack 'cameras' in stacks/, which has none; .* stacks/Pulumi.cameras.yaml"):
        stack.check_name(prepared, "cameras")
    stack.check_name(prepared, stack.STACK)


def test_a_name_that_is_none_is_refused_before_anything_is_prepared(
    prepared: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (prepared.project / "stacks" / "Pulumi.cameras.yaml").touch()
    monkeypatch.chdir(prepared.project)
    monkeypatch.setenv("ISTHMUS_CACHE_DIR", str(prepared.cache))
    assert main(["stack", "camera"]) == 1
    assert capsys.readouterr().err == (
        "isthmus: error: there is no stack 'camera' in stacks/; expected one of cameras, as in `make up STACK=cameras`\n"
    )
    assert not prepared.venv.exists()
    assert main(["stack", "cameras", "more"]) == main(["environment", "cameras"]) == main([]) == 1


def test_another_backend_is_selected_anew(prepared: Layout, engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.prepare(prepared, str(engine))
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path / 'other'}")
    stack.prepare(prepared, str(engine))
    assert len(calls(engine)) == 6


def test_what_the_engine_complains_about_is_told_on_one_line(prepared: Layout, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'error: no such\n  bucket' >&2\nexit 255\n")
    broken.chmod(0o755)
    with pytest.raises(PrepareError, match=r"error: no such bucket$"):
        stack.prepare(prepared, str(broken))


PROGRAM = "import pulumi\npulumi.export('hidden', pulumi.Output.secret(pulumi.Config().require('word')))\n"


@pytest.mark.e2e
def test_the_real_engine_makes_it_and_runs_it_over_and_over_without_a_change_to_the_users_file(
    prepared: Layout, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shutil.which("pulumi", path=stack.variables(load(project))["PATH"])
    assert found
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    config = prepared.project / "stacks" / "Pulumi.local.yaml"
    runtime = f"{{name: python, options: {{toolchain: pip, virtualenv: {json.dumps(sys.prefix)}}}}}"
    (prepared.project / "Pulumi.yaml").write_text(f"name: example\nruntime: {runtime}\nstackConfigDir: stacks\n")
    (prepared.project / "__main__.py").write_text(PROGRAM)
    environ = {**stack.variables(prepared), "PULUMI_CONFIG_PASSPHRASE_FILE": str(prepared.passphrase)}

    def pulumi(*words: str) -> str:
        command = [found, *words, "--non-interactive"]
        result = subprocess.run(command, cwd=prepared.project, env=environ, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    for word in ("one", "two"):  # the second time there is a state with secrets in it
        content = f"# A remark that stays.\nconfig:\n  example:word: {word}\n"
        config.write_text(content)
        stack.prepare(prepared, found)
        copy = ["--stack", "local", "--config-file", str(stack.config_copy(prepared))]
        for command in (["preview"], ["up", "--yes"], ["refresh", "--yes"]):
            pulumi(*command, *copy)
        assert json.loads(pulumi("stack", "output", "--json", "--show-secrets")) == {"hidden": word}
        assert config.read_text() == content
    [only] = json.loads(pulumi("stack", "ls", "--json"))
    assert (only["name"], only["current"]) == ("local", True)
    # Typed by hand it works on the file itself, with the passphrase and the salt that the state has.
    pulumi("config", "set", "--secret", "word", "three")
    assert "three" not in config.read_text()
    pulumi("up", "--yes")
    assert json.loads(pulumi("stack", "output", "--json", "--show-secrets")) == {"hidden": "three"}
    stack.prepare(prepared, found)
    pulumi("destroy", "--yes", *copy)
