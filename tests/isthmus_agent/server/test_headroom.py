"""Head-room, as the kernel's files say it: the hottest zone, the emptiest battery; what cannot be read says nothing."""

import math
import os
from pathlib import Path

import pytest
from tests.isthmus_agent.server.test_router import Way, rush

from isthmus_agent.formats.policy import BATTERY, TEMPERATURE, Measured, Policy
from isthmus_agent.server.headroom import Headroom
from isthmus_agent.server.router import Router

HOT = Measured(TEMPERATURE, "degrees", ("cool", "hot"), (70_000,), 3_000)
FULL = Measured(BATTERY, "percent", ("low", "full"), (20_000,), 0, 1)
POLICY = Policy("sha256:" + "a" * 64, "*", ("device", "cloud"), (HOT, FULL), (0, 0, 1, 0) * 2, 2_000)
"""To the cloud where it is hot and the battery low."""


def kernel(root: Path, zones: dict[str, str], supplies: dict[str, dict[str, str]]) -> Path:
    for name, content in zones.items():
        (root / "thermal" / name).mkdir(parents=True, exist_ok=True)
        (root / "thermal" / name / "temp").write_text(content)
    for name, files in supplies.items():
        (root / "power_supply" / name).mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (root / "power_supply" / name / file).write_text(content)
    return root


def test_the_hottest_zone_and_the_emptiest_battery_count(tmp_path: Path):
    zones = {"thermal_zone0": "41000\n", "thermal_zone1": "72500\n", "cooling_device0": "99000\n"}
    supplies = {
        "BAT0": {"type": "Battery\n", "capacity": "80\n"},
        "BAT1": {"type": "Battery\n", "capacity": "35\n"},
        "AC": {"type": "Mains\n", "capacity": "0\n"},
        "mouse": {"type": "Battery\n", "scope": "Device\n", "capacity": "3\n"},
    }
    assert Headroom(POLICY, kernel(tmp_path, zones, supplies))() == {TEMPERATURE: 72.5, BATTERY: 35.0}


@pytest.mark.parametrize(
    "content", ["", "\n", "warm", "nan", "1e5", "-274000", "500000", "4" * 100, "\ud800".encode("utf-8", "surrogatepass")]
)
def test_what_no_sensor_measures_says_nothing(tmp_path: Path, content: str | bytes):
    root = kernel(tmp_path, {"thermal_zone0": ""}, {"BAT0": {"type": "Battery\n", "capacity": "101\n"}})
    (root / "thermal" / "thermal_zone0" / "temp").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert all(math.isnan(it) for it in Headroom(POLICY, root)().values())


def test_a_kernel_without_these_files_says_nothing_and_the_levels_stay(tmp_path: Path):
    found = Headroom(POLICY, tmp_path / "none")()
    assert all(math.isnan(it) for it in found.values())
    assert POLICY.levels(POLICY.unmeasured, found) == POLICY.unmeasured == (0, 1)


def test_a_pipe_or_a_folder_in_place_of_a_sensor_holds_up_nobody(tmp_path: Path):
    root = kernel(tmp_path, {}, {"BAT0": {"type": "Battery", "capacity": "7"}})
    (root / "thermal" / "thermal_zone0").mkdir(parents=True)
    os.mkfifo(root / "thermal" / "thermal_zone0" / "temp")
    (root / "thermal" / "thermal_zone1" / "temp").mkdir(parents=True)
    found = Headroom(POLICY, root)()
    assert math.isnan(found[TEMPERATURE])
    assert found[BATTERY] == 7.0


def test_what_no_policy_asks_for_is_not_read(tmp_path: Path):
    one = Policy(POLICY.release, "*", POLICY.places, (HOT,), (0,) * 4, 2_000)
    root = kernel(tmp_path, {"thermal_zone0": "50000"}, {"BAT0": {"type": "Battery", "capacity": "7"}})
    assert Headroom(one, root)() == {TEMPERATURE: 50.0}


def test_a_hot_device_with_a_low_battery_moves_and_both_are_counted(tmp_path: Path):
    root = kernel(tmp_path, {"thermal_zone0": "40000"}, {"BAT0": {"type": "Battery", "capacity": "90"}})
    router = Router(POLICY, "digits", Way(20.0), 0.0, headroom=Headroom(POLICY, root))
    assert set(rush(router, 0, 10, 5)) == {"device"}
    kernel(tmp_path, {"thermal_zone0": "90000"}, {"BAT0": {"type": "Battery", "capacity": "10"}})
    assert rush(router, 10, 10, 5)[-1] == "cloud"
    seen = router.seen()
    assert seen is not None
    assert [row[:2] for row in seen["rows"]] == [[0, 1], [1, 2]]
