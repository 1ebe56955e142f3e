"""A Pulumi project of a test's own: this repository's program, with a stack file, a state and ports that nobody else uses."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from toolchain.testing import patience

from isthmus.provider.local.ports import choose

REPOSITORY = Path(__file__).resolve().parents[2]
STACK = "test"
TIMEOUT_SECONDS = 280


def digits(**changes: Any) -> dict[str, Any]:
    """The arguments of the embedded default, on free ports."""
    return {
        "model": "models/digits",
        "recipe": "int8",
        "min_accuracy": 0.97,
        "requests_per_second": 20,
        "p95_ms": 100,
        "balancing": "least_request",
        "platform": "local",
        "local": {"port": choose(()), "grpc_port": choose(())},
        "fleet": "fleets/cameras.yaml",
        "bucket": "models",
        "waves": [{"count": 1}, {"percent": 100}],
        "probation": {"seconds": 1},
        "gate": {"soak_seconds": 1, "deadline_seconds": 120},
        "min_confidence": 0.8,
        "samples": {"owner_key": f"x25519:{base64.b64encode(bytes([1] * 32)).decode()}", "share_percent": 1},
        **changes,
    }


class Done(str):
    """What a finished command said. A text, so that a failed assertion shows the whole of it."""

    code: int

    def __new__(cls, code: int, text: str) -> "Done":
        done = super().__new__(cls, f"exit code {code}\n{text}")
        done.code = code
        return done

    @property
    def text(self) -> str:
        return self.partition("\n")[2]


@dataclass
class Project:
    """root: an empty folder. cache: where releases are kept; shared by tests that may share compiled models."""

    root: Path
    cache: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # /proc/self/environ of a test run may hold a user's own Pulumi settings; none of them may matter here.
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PULUMI_", "ISTHMUS_", "AWS_"))}
        path = [str(Path(sys.prefix) / "bin"), kept.get("PATH", "")]
        if (REPOSITORY / ".toolchain/bin/pulumi").exists():
            path.insert(0, str(REPOSITORY / ".toolchain/bin"))
        (self.root / "state").mkdir()
        self.environment = {
            **kept,
            "PATH": ":".join(path),
            "PULUMI_HOME": str(REPOSITORY / ".toolchain/pulumi-home"),
            "PULUMI_BACKEND_URL": f"file://{self.root}/state",
            "PULUMI_CONFIG_PASSPHRASE": "a test's own",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "ISTHMUS_CACHE_DIR": str(self.cache),
            **self.environment,
        }
        for name in ("components", "models"):
            (self.root / name).symlink_to(REPOSITORY / name)
        shutil.copytree(REPOSITORY / "fleets", self.root / "fleets")
        shutil.copy(REPOSITORY / "__main__.py", self.root)
        program = yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text())
        program["runtime"]["options"]["virtualenv"] = sys.prefix
        program["plugins"]["providers"][0]["path"] = str(REPOSITORY / "components")
        (self.root / "Pulumi.yaml").write_text(yaml.safe_dump(program))
        (self.root / "stacks").mkdir()

    @property
    def stack_file(self) -> Path:
        return self.root / "stacks" / f"Pulumi.{STACK}.yaml"

    def configure(self, **sections: Mapping[str, Any]) -> None:
        """Writes the stack file: `hybrids={"digits": {...}}` and the like. The secrets' salt of an existing one is kept."""
        kept = yaml.safe_load(self.stack_file.read_text()) if self.stack_file.exists() else {}
        kept["config"] = {f"models:{section}": dict(content) for section, content in sections.items()}
        self.stack_file.write_text(yaml.safe_dump(kept))

    def start(self, *args: str, **environment: str) -> subprocess.Popen[str]:
        """A `pulumi` in a session of its own, so that a signal reaches what a terminal's Ctrl-C would reach."""
        return subprocess.Popen(
            ["pulumi", *args, "--non-interactive", "--color", "never"],
            cwd=self.root,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def pulumi(self, *args: str, **environment: str) -> Done:
        """Runs `pulumi` to its end; after TIMEOUT_SECONDS of an idle machine it is killed with all it started."""
        process = self.start(*args, **environment)
        try:
            text, _ = patience.communicate(process, TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            text, _ = process.communicate()
            raise AssertionError(f"pulumi {' '.join(args)} took longer than {TIMEOUT_SECONDS} s of an idle machine:\n{text}") from None
        except BaseException:  # Ctrl-C: a stack that is held by nobody's engine can be destroyed
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return Done(process.returncode, text)

    def init(self) -> None:
        done = self.pulumi("stack", "init", STACK)
        assert done.code == 0, done

    def preview(self, *args: str, **environment: str) -> Done:
        return self.pulumi("preview", "--stack", STACK, *args, **environment)

    def up(self, *args: str) -> Done:
        return self.pulumi("up", "--yes", "--stack", STACK, *args)

    def up_without_changes(self, *args: str) -> Done:
        """An update that may change nothing, and fails if it would. Its preview would be the same once more."""
        return self.up("--expect-no-changes", "--skip-preview", *args)

    def refresh(self, *args: str) -> Done:
        """Without the preview of a refresh, which asks everything the same things before, and waits as long for what hangs."""
        return self.pulumi("refresh", "--yes", "--skip-preview", "--stack", STACK, *args)

    def destroy(self) -> Done:
        return self.pulumi("destroy", "--yes", "--stack", STACK)

    def outputs(self) -> dict[str, Any]:
        done = self.pulumi("stack", "output", "--json", "--stack", STACK)
        assert done.code == 0, done
        return json.loads(done.text)

    def state(self) -> dict[str, Any]:
        done = self.pulumi("stack", "export", "--stack", STACK)
        assert done.code == 0, done
        return json.loads(done.text)

    def isthmus(self, *args: str) -> Done:
        """Runs the `isthmus` command in the project's folder."""
        command = [sys.executable, "-m", "isthmus.cli.main", *args]
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=patience.scaled(120), check=False
        )
        return Done(done.returncode, done.stdout + done.stderr)


def processes_of(root: Path) -> dict[int, str]:
    """Pids and command lines of every process that was started from, or for, a folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            cwd = os.readlink(entry / "cwd")
        except OSError:
            continue
        if (str(root) in command or cwd.startswith(str(root))) and int(entry.name) != os.getpid():
            found[int(entry.name)] = command
    return found
