"""A device's configuration."""

import json
from pathlib import Path
from typing import Any

import pytest

from isthmus_agent.channel import Fallback
from isthmus_agent.manager import settings
from isthmus_agent.manager.checking import SettingsError

KEY = "ab" * 32


def value(**changes: Any) -> dict[str, Any]:
    return {
        "device": "camera-1",
        "fleet": "cameras",
        "state_directory": "/var/lib/isthmus-agent",
        "store": {"endpoint": "https://store:9000/", "bucket": "models", "prefix": "edge/"},
        "root": {"signed": {"_type": "root"}, "signatures": []},
        "report_key": KEY,
        **changes,
    }


def problems(raw: dict[str, Any], environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings.from_value(raw, environment or {})
    return [str(it) for it in caught.value.problems]


def test_what_is_needed_is_little_and_the_rest_has_defaults():
    found = settings.from_value(value(), {})
    assert (found.device.name, found.device.device_class, found.identity.url) == ("camera-1", "*", "https://store:9000/models/edge/")
    assert (found.local.listen.port, found.local.stop_first, found.local.pace.poll_seconds, found.identity.credentials) == (
        8501,
        False,
        60.0,
        None,
    )


def test_everything_can_be_said():
    store = {"endpoint": "http://store", "bucket": "models", "region": "eu-1", "access_key": "a", "secret_key": "s", "token": "t"}
    more = {"class": "small", "labels": {"site": "a"}, "model": "digits", "listen": {"socket": "/run/agent/predict.sock"}}
    paces = {"poll_seconds": 0.5, "heartbeat_seconds": 5, "measure_seconds": 1, "retry_seconds": 2}
    limits = {"memory_bytes": 1 << 27, "threads": 2, "request_seconds": 0.5}
    cloud = {
        "url": "https://cloud:8443/base/",
        "min_confidence": 0.6,
        "timeout_ms": 200,
        "deadline_ms": 80,
        "same_version": True,
        "policy": "as_signed",
    }
    found = settings.from_value(value(store=store, limits=limits, swap="stop_first", fallback=cloud, **more, **paces), {})
    assert found.local.fallback == Fallback(
        "https://cloud:8443/base", 0.6, 0.2, deadline_seconds=0.08, same_version=True, follows_policy=True
    )
    assert found.identity.credentials is not None
    assert (found.identity.credentials.access_key, found.identity.credentials.region, found.identity.credentials.token) == (
        "a",
        "eu-1",
        "t",
    )
    assert (found.local.listen.socket, found.local.stop_first) == (Path("/run/agent/predict.sock"), True)
    assert (found.local.limits.memory_bytes, found.local.limits.threads, found.local.limits.request_seconds) == (1 << 27, 2, 0.5)
    assert (found.local.pace.poll_seconds, found.local.pace.first_backoff_seconds) == (0.5, 2.0)
    assert found.about == {"device": "camera-1", "fleet": "cameras", "model": "digits"}


def test_credentials_may_come_from_the_environment():
    found = settings.from_value(value(), {settings.ACCESS_KEY: "a", settings.SECRET_KEY: "s"})
    assert found.identity.credentials is not None
    assert (found.identity.credentials.access_key, found.identity.credentials.secret_key) == ("a", "s")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"device": "a b"}, "device: found 'a b', expected a device's name"),
        ({"labels": {"site": 1}}, "labels.site: found 1, expected a label's value"),
        ({"state_directory": "var"}, "state_directory: found 'var', expected an absolute path"),
        ({"store": {"endpoint": "ftp://x", "bucket": "models"}}, "store.endpoint: expected http://HOST"),
        ({"store": {"endpoint": "http://x", "bucket": "a/b"}}, "store.bucket: found 'a/b', expected a bucket's name"),
        ({"store": {"endpoint": "http://x", "bucket": "models", "prefix": "a/../"}}, "store.prefix: found 'a/../', expected a prefix"),
        ({"store": {"endpoint": "http://x", "bucket": "models", "access_key": "a"}}, "store.secret_key: it is missing, and access_key is"),
        ({"store": 3}, "store: found 3, expected an object"),
        ({"root": {}}, "root: expected the root metadata of the enrolment"),
        ({"report_key": "12"}, "report_key: expected 64 hexadecimal digits"),
        ({"listen": {"port": 70000}}, "listen.port: found 70000, expected a whole number from 0 to 65535"),
        ({"listen": {"port": 1, "socket": "/a"}}, "listen: found socket beside address or port"),
        ({"limits": {"threads": 0}}, "limits.threads: found 0, expected a whole number from 1"),
        ({"limits": {"thread": 1}}, "limits.thread: unknown, expected one of"),
        ({"swap": "fast"}, "swap: found 'fast', expected one of side_by_side, stop_first"),
        ({"poll_seconds": float("nan")}, "poll_seconds: found nan, expected a number from 0.05 to 86400"),
        ({"poll_seconds": True}, "poll_seconds: found True, expected a number"),
        ({"fallback": {"url": "http://cloud"}}, "fallback.min_confidence: it is missing"),
        ({"fallback": {"url": "somewhere", "min_confidence": 1}}, "fallback.url: expected http://HOST[:PORT][/PATH]"),
        ({"fallback": {"url": "http://me:hunter2@cloud", "min_confidence": 1}}, "fallback.url: expected http://HOST[:PORT][/PATH]"),
        ({"fallback": {"url": "http://cloud", "min_confidence": 2}}, "fallback.min_confidence: found 2, expected a number from 0 to 1"),
        ({"fallback": {"url": "http://c", "min_confidence": 0, "timeout_ms": 0}}, "fallback.timeout_ms: found 0, expected a whole number"),
        ({"fallback": {"url": "http://c", "min_confidence": 0, "retries": 1}}, "fallback.retries: unknown, expected one of"),
        ({"colour": 1}, "colour: unknown, expected one of"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_what_was_expected(changes: dict[str, Any], told: str):
    found = problems(value(**changes))
    assert len(found) == 1
    assert found[0].startswith(told)


def test_all_problems_are_told_at_once():
    raw = value(device="", poll_seconds=0)
    del raw["fleet"]
    assert [it.split(":")[0] for it in problems(raw)] == ["poll_seconds", "fleet", "device"]


def test_no_problem_repeats_a_secret():
    store = {
        "endpoint": "http://me:hunter2@x",
        "bucket": "models",
        "access_key": "hunter2\n",
        "secret_key": "hunter2\n",
        "token": "hunter2 ",
    }
    text = "\n".join(problems(value(store=store, report_key="hunter2")))
    assert text.count("expected") == 5
    assert "hunter2" not in text
    assert "hunter2" not in repr(settings.from_value(value(), {settings.ACCESS_KEY: "a", settings.SECRET_KEY: "hunter2"}))
    assert KEY not in repr(settings.from_value(value(), {}))


def test_a_file_that_others_may_read_or_that_is_no_json_is_refused(tmp_path: Path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(value()))
    file.chmod(0o644)
    with pytest.raises(SettingsError, match=r"mode 0644.*Fix: chmod 600"):
        settings.load(file, {})
    file.chmod(0o600)
    assert settings.load(file, {}).device.name == "camera-1"
    for content in ("{", "[]", "[" * 100_000):
        file.write_text(content)
        with pytest.raises(SettingsError, match="not a JSON object"):
            settings.load(file, {})
    with pytest.raises(SettingsError, match="cannot read"):
        settings.load(tmp_path / "nothing", {})


def test_a_file_without_secrets_may_be_read_by_all_and_may_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"state_directory": str(tmp_path), "ca_file": str(file), "poll_seconds": 7}))
    file.chmod(0o644)
    found = settings.load_local(file)
    assert (found.state_directory, found.ca_file, found.pace.poll_seconds, found.model) == (tmp_path, str(file), 7.0, None)
    monkeypatch.setattr(settings, "CONFIG", tmp_path / "nothing")
    assert settings.load_local() == settings.Local()
    with pytest.raises(SettingsError, match="cannot read"):
        settings.load_local(tmp_path / "nothing")


def test_a_device_may_refuse_samples_whatever_is_signed():
    assert settings.from_value(value(), {}).local.may_sample
    assert not settings.from_value(value(samples="never"), {}).local.may_sample
    assert "samples" in problems(value(samples="no"))[0]


def test_a_device_may_refuse_to_tell_its_counts_whatever_is_signed():
    assert settings.from_value(value(), {}).local.may_tell_counts
    assert not settings.from_value(value(counts="never"), {}).local.may_tell_counts
    assert "counts" in problems(value(counts=True))[0]


def test_a_device_may_be_told_to_go_by_what_its_bundle_says_of_confidence():
    cloud = {"url": "https://cloud", "min_confidence": "as_signed"}
    found = settings.from_value(value(fallback=cloud), {})
    assert found.local.fallback == Fallback("https://cloud", None)
