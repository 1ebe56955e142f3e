"""What two rooms must call alike, however long the user's own name is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus import names
from isthmus.digest import Digest
from isthmus.platforms.kubernetes.objects import KubernetesService, Pool, Served, Store, Track, objects
from isthmus.provider.clusters.traffic import TrafficMap
from isthmus.release.fetch import FetchFile, FetchPlan

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PARTS = st.lists(st.from_regex(r"[a-z0-9]{0,8}", fullmatch=True), max_size=3)


@given(st.text(min_size=1, max_size=90), PARTS)
def test_every_object_name_is_a_dns_label_and_the_same_from_the_users_name_and_from_the_label(service, parts):
    found = names.object_name(service, *parts)
    assert DNS_LABEL.fullmatch(found)
    assert found == names.object_name(names.dns_label(service), *parts)


@given(st.text(min_size=1, max_size=90), st.text(min_size=1, max_size=90))
def test_two_names_stay_two(one, other):
    assert (one == other) == (names.dns_label(one) == names.dns_label(other))
    assert (one == other) == (names.shortened(one, 20) == names.shortened(other, 20))


@given(st.from_regex(r"[A-Za-z0-9_-]{1,69}", fullmatch=True), st.from_regex(r"[A-Za-z0-9_-]{1,63}", fullmatch=True))
def test_a_program_is_one_that_a_supervisor_takes(component, part):
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", names.program(component, part))


@pytest.mark.parametrize("characters", [1, 55, 56, 57, 61, 62, 63, 64, 80])
def test_gateway_pods_mount_what_is_declared_or_what_the_plugin_writes(characters):
    """A hybrid's service has six characters more; from 56 on the plugin's ConfigMap and the one in the Pods had two names."""
    name = names.cloud_part("d" * characters)
    store = Store("http://10.1.2.3:8333", "us-east-1", "models")
    digest = Digest.of(b"")
    served = Served(1, digest, FetchPlan(digest, 1, 1, (FetchFile("serving/1/saved_model.pb", 64 * "0", 1),)))
    found = objects(KubernetesService(name, "serving", "digits", (Track(names.STABLE, (Pool(),), served),), store))
    there = {(it["kind"], it["metadata"]["name"]) for it in found.values()}
    there.add(("ConfigMap", TrafficMap(None, "serving", names.dns_label(name)).name))  # type: ignore[arg-type]
    for it in found.values():
        for volume in it.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", ()):
            assert _mounted(volume) <= there


def _mounted(volume: dict) -> set[tuple[str, str]]:
    parts = [volume, *volume.get("projected", {}).get("sources", ())]
    maps = {("ConfigMap", part["configMap"]["name"]) for part in parts if "configMap" in part}
    secrets = {("Secret", it.get("secretName") or it["name"]) for part in parts if (it := part.get("secret"))}
    return maps | secrets
