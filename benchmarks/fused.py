"""What an answer of a group costs beside a device's own: `python benchmarks/fused.py [--events N] [--json FILE]`.

Two cameras of a building (views/buildings.py) with one release (models/digits, int8): real servers, each behind what a manager has, and a
broker (amqtt, TLS) between them, all on this machine. Each event is asked at both at once; then each picture is asked at each device alone.
Told are the times of both ways, how often each is right, and the bytes that leave a device for an event.

The group was learned from the same pictures: how well it does on others is what the preview says, by cross-validation.
"""

import argparse
import asyncio
import http.client
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import machine
from rich.console import Console
from rich.table import Table
from tests.isthmus_agent.bus.brokers import GROUP, PASSWORDS, RunningBroker
from tests.isthmus_agent.contents import Served, start

from isthmus.compile import CompileRequest, compile_release
from isthmus.compile.answering import edge_answers
from isthmus.fusion.learn import learn
from isthmus.fusion.validate import validate
from isthmus.fusion.views import views_of
from isthmus.provider.local.certificates import for_loopback
from isthmus.release.cache import ReleaseCache, default_cache_directory
from isthmus.release.device_bundle import plain
from isthmus.words import percent
from isthmus_agent.bus.link import Broker
from isthmus_agent.bus.member import Member
from isthmus_agent.channel import View
from isthmus_agent.formats import bundle, said
from isthmus_agent.group.core import Core
from isthmus_agent.group.settings import Settings
from isthmus_agent.manager.evidence import Evidence

VIEWS = Path(__file__).parents[1] / "views" / "buildings.npz"
DIGITS = Path(__file__).parents[1] / "models" / "digits"
DEVICES = {"a": "near", "b": "far"}


class Camera:
    """A device's server and its part in the group."""

    def __init__(self, name: str, view: str, folder: Path, broker: RunningBroker, ca_file: Path) -> None:
        self.view, self.told_bytes = view, [0]
        self.evidence = Evidence(self._publish)
        self.served: Served = start(folder / name, evidence=self.evidence, view=View(name, view))
        at = Broker(host="127.0.0.1", user=name, password=PASSWORDS[name], ca_file=ca_file, port=broker.port, speaks_5=broker.speaks_5)
        core = Core(name, 1, 0, Settings())
        listens = {said.SUBJECT: self.evidence.heard}
        self.member = Member(GROUP, at, core, lambda *_: None, listens=listens, there=self.evidence.present)
        self.member.start()
        self._connection = self.served.connect()

    def _publish(self, payload: bytes) -> bool:
        self.told_bytes.append(len(payload))
        return self.member.tell(said.SUBJECT, payload)

    def ask(self, picture: NDArray[Any], headers: Mapping[str, str]) -> tuple[float, int, str]:
        """Milliseconds, the class, and who answered."""
        body, began = json.dumps({"instances": [picture.tolist()]}), time.perf_counter()
        self._connection.request("POST", "/v1/models/digits:predict", body, dict(headers))
        reply = self._connection.getresponse()
        content = reply.read()
        took_ms = 1000 * (time.perf_counter() - began)
        if reply.status != http.client.OK:
            raise SystemExit(content.decode())
        return took_ms, int(np.argmax(json.loads(content)["predictions"][0])), str(reply.headers["X-Isthmus-Heard"])

    def close(self) -> None:
        self.served.serving.close()
        self.member.close()


def content_and_worth(seen: Mapping[str, NDArray[Any]], labels: NDArray[Any]) -> tuple[bytes, Any]:
    """The bundle with its group, and the preview's figures."""
    request = CompileRequest(model="digits", source=str(DIGITS), recipe="int8")
    release = asyncio.run(compile_release(request, ReleaseCache(default_cache_directory()), lambda _: None))
    views = views_of(edge_answers(release, seen, "model", "views"), labels, "views")
    text = learn(views, release.digest).to_bytes().decode()
    return plain(release, {bundle.GROUP: {bundle.GROUP_FILE: text, bundle.WAIT_MS: 5000}}), validate(views)


def at_once(asks: list[Callable[[], tuple[float, int, str]]], pool: ThreadPoolExecutor) -> list[tuple[float, int, str]]:
    return [it.result() for it in [pool.submit(ask) for ask in asks]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=450)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with np.load(VIEWS) as data:
        labels, seen = data["labels"].astype(int), {view: data[view].astype(np.float32) for view in DEVICES.values()}
    content, figures = content_and_worth(seen, labels)
    count = min(options.events, len(labels))
    with tempfile.TemporaryDirectory(prefix="isthmus-fused-") as name, ThreadPoolExecutor(2) as pool:
        folder, found = Path(name), for_loopback()
        (folder / "ca.pem").write_text(found.certificate_pem)
        (folder / "key.pem").write_text(found.private_pem)
        broker = RunningBroker("amqtt", folder, folder / "ca.pem", folder / "key.pem")
        broker.start()
        cameras: list[Camera] = []
        try:
            cameras += [Camera(device, view, folder, broker, folder / "ca.pem") for device, view in DEVICES.items()]
            for camera in cameras:
                camera.served.serve(content)
            while any(not it.served.get("/healthz")[1]["group"]["there"] for it in cameras):
                time.sleep(0.05)
            rows = measured(cameras, seen, labels[:count], pool)
        finally:
            for camera in cameras:
                camera.close()
            broker.kill()
    rows |= {"preview": {"right": figures.group.value, "best": max(it.alone.value for it in figures.members)}, "machine": machine()}
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    show(rows)


def measured(cameras: list[Camera], seen: Mapping[str, NDArray[Any]], labels: NDArray[Any], pool: ThreadPoolExecutor) -> dict[str, Any]:
    """By way: milliseconds and shares of right answers."""
    found: dict[str, Any] = {}
    for way, headers in (("alone", {"X-Isthmus-Answer-By": "device"}), ("together", {})):
        took, right, heard = [], [], set()
        for number, label in enumerate(labels):
            its = headers or {"X-Isthmus-Event": f"event-{number}"}
            asks = [lambda camera=camera: camera.ask(seen[camera.view][number], its) for camera in cameras]  # noqa: B023 (done in the turn)
            for ms, answer, whose in at_once(asks, pool):
                took.append(ms)
                right.append(answer == label)
                heard.add(whose)
        shares = {it.view: float(np.mean(right[place :: len(cameras)])) for place, it in enumerate(cameras)}
        found[way] = {"p50_ms": float(np.median(took)), "p95_ms": float(np.quantile(took, 0.95)), "right": shares, "heard": sorted(heard)}
    found["told_bytes"] = float(np.mean([size for camera in cameras for size in camera.told_bytes[1:]]))
    found["picture_bytes"] = int(np.prod(next(iter(seen.values())).shape[1:]) * 4)
    return found


def show(rows: Mapping[str, Any]) -> None:
    table = Table(title=rows["machine"])
    for head in ("asked", "p50 ms", "p95 ms", "right, near", "right, far"):
        table.add_column(head, justify="left" if head == "asked" else "right")
    for way in ("alone", "together"):
        it = rows[way]
        table.add_row(way, f"{it['p50_ms']:.2f}", f"{it['p95_ms']:.2f}", *(percent(it["right"][view]) for view in ("near", "far")))
    console = Console()
    console.print(table)
    console.print(f"p50 together / alone: {rows['together']['p50_ms'] / rows['alone']['p50_ms']:.2f}")
    console.print(f"told of an event: {rows['told_bytes']:.1f} bytes; a picture has {rows['picture_bytes']} as the model takes it")
    console.print(f"by cross-validation: {percent(rows['preview']['right'])} together, {percent(rows['preview']['best'])} the best alone")


if __name__ == "__main__":
    main()
