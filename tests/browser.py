"""A headless Chromium that cannot reach anything, for pages that must open offline."""

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toolchain.prepare import debian
from toolchain.prepare.layout import load
from toolchain.prepare.steps import PrepareError
from toolchain.testing import patience

PROJECT = Path(__file__).parents[1]
DEADLINE_SECONDS = 60
# Whatever reaches over the right edge of the window, but inside a box that scrolls by itself.
_OVERFLOWING = """[...document.querySelectorAll('body *')]
  .filter(it => !it.closest('.scroll, svg') && it.getBoundingClientRect().right > innerWidth + 1)
  .map(it => it.outerHTML.slice(0, 80))"""
# Colours are composed with those below them before they are compared: WCAG 2.2, contrast of text.
_CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colours) => { canvas.clearRect(0, 0, 1, 1); for (const it of colours) { canvas.fillStyle = it; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)]; };
  const light = (c) => { const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  let worst = [99, ''];
  for (const it of document.querySelectorAll('body *')) {
    if (![...it.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || it.getClientRects().length === 0) continue;
    const below = []; for (let at = it; at; at = at.parentElement) below.unshift(getComputedStyle(at).backgroundColor);
    const style = getComputedStyle(it), paper = light(rgb(below));
    const ink = light(rgb([...below, it.closest('svg') ? style.fill : style.color]));
    const ratio = (Math.max(paper, ink) + 0.05) / (Math.min(paper, ink) + 0.05);
    if (ratio < worst[0]) worst = [ratio, it.outerHTML.slice(0, 90)];
  }
  return worst;
})()"""


class Browser:
    """A page of a headless Chromium, driven over its debugging pipe (one JSON text a message, ended by a zero byte)."""

    def __init__(self, program: Path, environment: dict[str, str], profile: Path, *, reaches_loopback: bool = False) -> None:
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
        arguments += ["--proxy-server=127.0.0.1:1", *([] if reaches_loopback else ["--proxy-bypass-list=<-loopback>"])]
        arguments += ["--disable-background-networking", "about:blank"]
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
        self.offline(not reaches_loopback)

    def close(self) -> None:
        self._out.close()
        self._process.kill()
        self._process.wait(DEADLINE_SECONDS)
        self._in.close()

    def offline(self, offline: bool) -> None:
        self._ask("Network.emulateNetworkConditions", offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    def open(self, where: Path | str, width: int, *, dark: bool = False) -> None:
        """Opens a file, or an address, at a width in pixels; what the page complains about from now on is in `complaints`."""
        self.complaints = []
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        url = where if isinstance(where, str) else where.as_uri()
        self._ask("Page.navigate", url=url)
        loaded = f"document.readyState + location.href == {json.dumps('complete' + url)}"
        deadline = patience.Deadline(DEADLINE_SECONDS)
        while self._ask("Runtime.evaluate", expression=loaded)["result"].get("value") is not True:
            assert not deadline.over(), f"{url} was not loaded"
            time.sleep(0.01)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def overflowing(self) -> list[str]:
        """What reaches over the right edge of the window."""
        found: list[str] = self.value(_OVERFLOWING)
        return found

    def least_contrast(self) -> tuple[float, str]:
        """Of all texts that are shown, and where it is."""
        ratio, where = self.value(_CONTRAST)
        return ratio, where

    def check_reads_well(self, where: Path, width: int, *, dark: bool) -> None:
        """Nothing is complained about, nothing overflows, and every text has the contrast that it needs, also of what is folded."""
        self.open(where, width, dark=dark)
        self.value("document.querySelectorAll('details').forEach(it => it.open = true)")
        assert self.complaints == []
        assert self.value("document.documentElement.scrollWidth") == width
        assert self.overflowing() == []
        ratio, least = self.least_contrast()
        assert ratio >= 4.5, least

    def check_runs_nothing(self, where: Path, width: int = 400) -> None:
        """A page with `markup.EVIL` for names is one without a script or a picture, and asks nobody for anything."""
        self.open(where, width)
        assert self.complaints == []
        assert self.value("document.querySelectorAll('img, script').length") == 0
        assert self.value("document.documentElement.scrollWidth") == width

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


@contextmanager
def running(profile: Path, *, reaches_loopback: bool = False) -> Iterator[Browser]:
    """Debian's, unpacked into the cache; skips the test where there is none.

    profile: an empty folder. reaches_loopback: this machine's own ports, and nothing else.
    """
    try:
        root = debian.packages(load(PROJECT), ["chromium-headless-shell"])
    except PrepareError as error:
        pytest.skip(f"no Chromium here: {error}")
    program = root / "usr/lib/chromium/chromium-headless-shell"
    environment = debian.environment(root)
    environment["LD_LIBRARY_PATH"] += "".join(f":{folder}" for folder in sorted(root.glob("usr/lib/*/pulseaudio")))
    opened = Browser(program, environment, profile, reaches_loopback=reaches_loopback)
    try:
        yield opened
    finally:
        opened.close()
