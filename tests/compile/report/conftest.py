"""A release with eight variants as a compile of digits measures them, and a headless Chromium that cannot reach anything."""

import base64
import json
import os
import random
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toolchain.prepare import debian
from toolchain.prepare.layout import load
from toolchain.prepare.steps import PrepareError

from isthmus.release.manifest import EDGE, SERVING, Candidate, FileEntry, Layer, Manifest, Record, Release, TensorSpec, Timing, Variant

PROJECT = Path(__file__).parents[3]
DEADLINE_SECONDS = 60
_LAYERS = (("conv2d", (32, 3, 3, 1)), ("conv2d_1", (64, 3, 3, 32)), ("dense", (64, 1024)), ("dense_1", (10, 64)))
_OPERATORS = ("CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "RESHAPE", "SOFTMAX")
# recipe, bytes, shipped, right of 450, largest difference, p50, p95, memory, bits, error against min-max
_MEASURED = (
    ("float32", 330_344, 305_118, 446, 2e-7, 0.0412, 0.0498, 1_310_720, 32, 0.0),
    ("float16", 169_204, 151_977, 446, 4e-4, 0.0418, 0.0517, 1_638_400, 16, 0.0),
    ("int8", 86_912, 73_390, 446, 0.0089, 0.0301, 0.0355, 1_015_808, 8, 0.93),
    ("int8-static", 87_440, 73_802, 445, 0.0214, 0.0227, 0.0262, 983_040, 8, 0.93),
    ("int8-weights", 86_920, 73_391, 446, 0.0088, 0.0420, 0.0511, 1_343_488, 8, 0.93),
    ("int4", 45_688, 37_801, 444, 0.1130, 0.0312, 0.0377, 978_944, 4, 0.66),
    ("prune:80%+int8", 86_912, 17_690, 443, 0.1870, 0.0303, 0.0349, 1_011_712, 8, 0.91),
)


def _confusion(right: int, seed: int) -> tuple[tuple[int, ...], ...]:
    counts = [[45 * (row == column) for column in range(10)] for row in range(10)]
    rng = random.Random(seed)  # noqa: S311 - not a secret
    for _ in range(450 - right):
        row, column = rng.sample(range(10), 2)
        counts[row][row] -= 1
        counts[row][column] += 1
    return tuple(tuple(row) for row in counts)


def _candidate(figures: tuple[Any, ...]) -> Candidate:
    recipe, size, shipped, right, most, p50, p95, memory, bits, error = figures
    layers = tuple(Layer(name, shape, bits, 0.08 * i * error, 0.08 * i) for i, (name, shape) in enumerate(_LAYERS, 1)) if error else ()
    return Candidate(
        recipe,
        size,
        shipped,
        right / 450,
        most,
        most / 9,
        p50,
        p95,
        memory,
        _OPERATORS,
        layers,
        _confusion(right, size),
        31.5 * ("prune" in recipe),
    )


@pytest.fixture(scope="session")
def release() -> Release:
    """Recipe auto, prune:80%+int8 chosen, one variant out. Its files are not there."""
    candidates = (
        *(_candidate(figures) for figures in _MEASURED),
        Candidate("distil:50%+int8", problem="training took longer than 900 s (training_deadline_seconds)"),
    )
    chosen = candidates[6]
    edge = Variant(
        EDGE, chosen.recipe, (FileEntry("edge/model.tflite", chosen.size_bytes, "0" * 64),), chosen.accuracy, chosen.max_difference
    )
    serving = Variant(SERVING, "float32", (FileEntry("serving/1/saved_model.pb", 402_118, "1" * 64),), 446 / 450, 2e-7)
    manifest = Manifest(
        model="digits",
        version=1,
        recipe="auto:smallest",
        signature="serving_default",
        inputs=(TensorSpec("image", "float32", (-1, 8, 8, 1)),),
        outputs=(TensorSpec("probabilities", "float32", (-1, 10)),),
        variants=(serving, edge),
        golden=FileEntry("golden.json", 4_211, "2" * 64),
        golden_tolerance=0.8,
        source_accuracy=446 / 450,
        evaluation_examples=450,
        tools=(("tensorflow", "2.21.0"), ("keras", "3.15.1"), ("litert_quantizer", "0.11.0")),
    )
    record = Record(
        machine_class="x86_64 2 cores",
        measured_at="2026-11-23T21:40:00+00:00",
        serving=Timing(1.4, 1.3, 1.9, 200),
        edge=Timing(0.031, 0.0303, 0.0349, 200),
        candidates=candidates,
        reason=f"{chosen.recipe}: 17.2× smaller than float32 (17.7 kB as shipped), accuracy 98.44 % ≥ 98.11 %, a point below the source",
        source_confusion=_confusion(446, 330_344),
    )
    return Release(Path("release"), manifest, record)


@pytest.fixture
def renamed(release: Release) -> Callable[[str], Release]:
    """The release with a text in the place of everything that a user or a file may name."""

    def rename(text: str) -> Release:
        candidates = tuple(
            replace(
                it,
                recipe=f"{it.recipe}{text}",
                problem=it.problem and text,
                operators=(text,),
                layers=tuple(replace(layer, name=text) for layer in it.layers),
            )
            for it in release.record.candidates
        )
        variants = tuple(replace(it, recipe=f"{it.recipe}{text}") for it in release.manifest.variants)
        spec = (TensorSpec(text, text, None),)
        manifest = replace(release.manifest, model=text, recipe=text, variants=variants, inputs=spec, outputs=spec, tools=((text, text),))
        return Release(
            release.directory, manifest, replace(release.record, candidates=candidates, reason=text, metric=text, machine_class=text)
        )

    return rename


class Browser:
    """A page of a headless Chromium, driven over its debugging pipe (one JSON text a message, ended by a zero byte)."""

    def __init__(self, program: Path, environment: dict[str, str], profile: Path) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        # Whatever the page asks for would go to a port where nobody listens, and fail loudly.
        arguments += ["--proxy-server=127.0.0.1:1", "--proxy-bypass-list=<-loopback>", "--disable-background-networking", "about:blank"]
        place = f"exec 3<&{theirs_in} 4>&{theirs_out}; exec " + '"$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", place, "chromium", str(program), *arguments],
            env=environment,
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._out, self._in = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb")
        self._number, self._rest = 0, b""
        self._session: dict[str, str] = {}
        self.complaints: list[str] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        self.offline(True)

    def close(self) -> None:
        self._out.close()
        self._process.kill()
        self._process.wait(DEADLINE_SECONDS)
        self._in.close()

    def offline(self, offline: bool) -> None:
        self._ask("Network.emulateNetworkConditions", offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    def open(self, file: Path, width: int, *, dark: bool = False) -> None:
        """Opens a file at a width in pixels; what the page complains about from now on is in `complaints`."""
        self.complaints = []
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask("Page.navigate", url=file.as_uri())
        loaded = f"document.readyState + location.href == {json.dumps('complete' + file.as_uri())}"
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self._ask("Runtime.evaluate", expression=loaded)["result"].get("value") is not True:
            assert time.monotonic() < deadline, f"{file} was not loaded"
            time.sleep(0.01)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """The whole page as a PNG."""
        answer = self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "result" in answer, answer
                return answer["result"]
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._in], [], [], DEADLINE_SECONDS)[0], "Chromium says nothing"
            chunk = os.read(self._in.fileno(), 1 << 16)
            assert chunk, "Chromium has ended"
            self._rest += chunk
        text, self._rest = self._rest.split(b"\0", 1)
        return json.loads(text)

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif event.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.complaints.append(str(parameters))
        elif event.get("method") == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith(("file:", "data:")):
            self.complaints.append("request to " + parameters["request"]["url"])


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all tests, since a start takes a second. Debian's, unpacked into the cache."""
    try:
        root = debian.packages(load(PROJECT), ["chromium-headless-shell"])
    except PrepareError as error:
        pytest.skip(f"no Chromium here: {error}")
    program = root / "usr/lib/chromium/chromium-headless-shell"
    environment = debian.environment(root)
    environment["LD_LIBRARY_PATH"] += "".join(f":{folder}" for folder in sorted(root.glob("usr/lib/*/pulseaudio")))
    opened = Browser(program, environment, tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()
