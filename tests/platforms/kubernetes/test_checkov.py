"""Checkov's policies over the manifests as files. What it says is either mended or explained here."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from toolchain import checkov
from toolchain.prepare.layout import load
from toolchain.prepare.steps import PrepareError

from isthmus.platforms.kubernetes.objects import objects

pytestmark = pytest.mark.slow

# Check → the components whose Deployments it fails for, and why that is right.
SERVERS, GATEWAYS = "server", "gateway"
EXCEPTIONS = {
    "CKV_K8S_11": ({SERVERS, GATEWAYS}, "no CPU limit: it would stop a server in the middle of a request (kubernetes.resources)"),
    "CKV_K8S_15": ({SERVERS}, "IfNotPresent: a fixed version need not be asked for at every start; `image_pull_policy` changes it"),
    "CKV_K8S_35": ({SERVERS}, "the store's credentials are variables of the fetch container alone, which ends before the server starts"),
    "CKV_K8S_43": ({SERVERS}, "the serving image's default is a version and no digest; `images.serving` takes one"),
}


@pytest.fixture(scope="module")
def program() -> Path:
    try:
        return checkov.prepare(load(Path(__file__).resolve().parents[3]))
    except PrepareError as error:
        pytest.skip(str(error))


def report(program: Path, folder: Path) -> dict:
    """What Checkov finds in a folder of manifests, without a word to anybody."""
    command = [program, *checkov.OFFLINE, "--directory", folder, "--framework", "kubernetes", "--compact", "--quiet", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=checkov.environment(), check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def components(made) -> dict[str, str]:
    """Resource as Checkov names it → component."""
    found = {}
    for it in made.values():
        if it["kind"] == "Deployment":
            meta = it["metadata"]
            found[f"Deployment.{meta['namespace']}.{meta['name']}"] = meta["labels"]["app.kubernetes.io/component"]
    return found


BROKEN = "broken.yaml"


@pytest.fixture(scope="module")
def found(program, configurations, make, tmp_path_factory) -> dict:
    """The report on all configurations, and on one gateway with a privileged container."""
    folder = tmp_path_factory.mktemp("manifests")
    for name, service in configurations.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(objects(service).values(), sort_keys=False))
    broken = objects(make())["gateway"]
    broken["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = True
    (folder / BROKEN).write_text(yaml.safe_dump(broken))
    return report(program, folder)


def test_everything_was_checked(found, configurations):
    made = [objects(service) for service in configurations.values()]
    deployments = sum(len(components(it)) for it in made)
    # A Deployment counts twice, as itself and for its Pods; the broken one as well.
    assert found["summary"]["resource_count"] == sum(map(len, made)) + deployments + 2
    assert found["summary"]["parsing_errors"] == 0
    assert found["summary"]["skipped"] == 0


def test_every_policy_holds_or_has_an_explained_exception(found, configurations):
    parts = {f"/{name}.yaml": components(objects(service)) for name, service in configurations.items()}
    failed = {
        (it["check_id"], parts[it["file_path"]].get(it["resource"], it["resource"]))
        for it in found["results"]["failed_checks"]
        if it["file_path"] in parts
    }
    assert failed == {(check, component) for check, (kinds, _) in EXCEPTIONS.items() for component in kinds}


def test_a_privileged_container_would_be_found(found):
    assert "CKV_K8S_16" in {it["check_id"] for it in found["results"]["failed_checks"] if it["file_path"] == f"/{BROKEN}"}
