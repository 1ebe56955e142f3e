import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isthmus.apiserver import kubeconfig
from isthmus.apiserver.connection import Connection
from isthmus.apiserver.kubeconfig import Access, active, active_cluster, session
from isthmus.errors import PlatformError

SECRET = "hunter2hunter2"


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def written(folder: Path, content: Any, name: str = "config") -> str:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(file)


def where(access: Access) -> tuple[str, str, str]:
    found = active(access)
    assert found is not None
    return found.context, found.namespace, found.cluster.value["server"]


def test_a_kubeconfig_is_content_or_a_path_or_what_kubectl_would_use(config, tmp_path, monkeypatch):
    one = ("one", "in-one", "http://127.0.0.1:1")
    assert where(Access(json.dumps(config()))) == where(Access(written(tmp_path, config()))) == one
    written(tmp_path, config(), "home/.kube/config")
    assert where(Access()) == where(Access("~/.kube/config")) == one
    monkeypatch.setenv("KUBECONFIG", written(tmp_path, config(**{"current-context": "two"}), "named"))
    assert where(Access()) == ("two", "in-two", "http://127.0.0.1:2")


def test_context_cluster_and_namespace_may_be_others_than_it_says(config):
    text = json.dumps(config())
    assert where(Access(text, "two")) == ("two", "in-two", "http://127.0.0.1:2")
    assert where(Access(text, cluster="two", namespace="n")) == ("one", "n", "http://127.0.0.1:2")
    assert active_cluster(Access(text, "two")) == {"server": "http://127.0.0.1:2"}
    assert active_cluster(Access(text, "three")) == active_cluster(Access()) == {}


def test_files_are_merged_as_kubectl_does_it(config, tmp_path, monkeypatch):
    """The first one that says something counts, the current context too; files that are empty or not there do not count."""
    users = written(tmp_path, {"users": [{"name": "me", "user": {"token": "first"}}], "current-context": ""}, "users")
    whole, other = (
        written(tmp_path, config(), "whole"),
        written(tmp_path, config("http://127.0.0.1:9", **{"current-context": "two"}), "other"),
    )
    monkeypatch.setenv("KUBECONFIG", f"{users}:{tmp_path}/none::{written(tmp_path, '', 'empty')}:{whole}:{other}")
    assert where(Access()) == ("one", "in-one", "http://127.0.0.1:1")
    assert session(Access()).headers == {"Authorization": "Bearer first"}


def test_files_that_a_kubeconfig_names_lie_beside_it(config, tmp_path, monkeypatch):
    written(tmp_path, "from-a-file\n", "far/token")
    far = written(tmp_path, {"users": [{"name": "me", "user": {"tokenFile": "token"}}]}, "far/config")
    monkeypatch.setenv("KUBECONFIG", f"{far}:{written(tmp_path, config())}")
    found = session(Access())
    assert found.headers == {"Authorization": "Bearer from-a-file"}
    assert found.renew_at - found.since == pytest.approx(60)


def test_a_pod_without_a_kubeconfig_uses_its_own_account(tmp_path, monkeypatch):
    from kubernetes.config import incluster_config

    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", written(tmp_path, "of-the-pod", "token"))
    with pytest.raises(PlatformError, match="Service certification file does not exist"):
        session(Access())
    # The official client looks no further than whether there is something in it.
    import certifi

    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", certifi.where())
    monkeypatch.setattr(kubeconfig, "_NAMESPACE_OF_POD", written(tmp_path, "pods-own\n", "namespace"))
    found = session(Access())
    assert (found.server, found.context, found.namespace) == ("https://10.0.0.1:443", "", "pods-own")
    assert found.headers == {"Authorization": "bearer of-the-pod"}
    assert found.renew_at - found.since == pytest.approx(60)
    assert active_cluster(Access()) == {}
    with pytest.raises(PlatformError, match="no kubeconfig: /none does not exist"):
        session(Access("/none"))


def test_what_is_not_there_is_named_with_what_is_and_a_fix(config, tmp_path):
    text = json.dumps(config())
    with pytest.raises(PlatformError, match=r"no kubeconfig: ~/.kube/config does not exist. Fix: set KUBECONFIG"):
        active(Access())
    with pytest.raises(PlatformError, match=r"cannot be used: it has no context 'three', but one, two. Fix"):
        active(Access(text, "three"))
    with pytest.raises(PlatformError, match="it has no cluster 'three', but one, two"):
        active(Access(text, cluster="three"))
    with pytest.raises(PlatformError, match="it has no user 'me'"):
        active(Access(json.dumps(config(users=[]))))
    with pytest.raises(PlatformError, match="no current context"):
        active(Access("a: b\n"))
    with pytest.raises(PlatformError, match="its cluster 'one' has no server"):
        active(Access(json.dumps(config(""))))
    with pytest.raises(PlatformError, match=f"{tmp_path} cannot be read: Is a directory"):
        active(Access(str(tmp_path)))


BROKEN: dict[str, Any] = {
    "YAML that ends in the middle": "clusters:\n- {token: " + SECRET,
    "JSON that ends in the middle": "{token: " + SECRET,
    "a list": f"- {SECRET}\n- b\n",
    "words": f"just {SECRET}",
    "content in base64": base64.b64encode(json.dumps({"users": [{"name": "me", "user": {"token": SECRET}}]}).encode()).decode(),
    "a user without a name": {"users": [{"user": {"token": SECRET}}, {"name": "me"}]},
    "a user that is a text": {"users": [{"name": "me", "user": SECRET}]},
    "a token for no header": {"user": {"token": f"{SECRET}\nX-More: 1"}},
    "a token in other letters": {"user": {"token": f"{SECRET}ü"}},
    "a key that is no base64": {"server": "https://127.0.0.1:1", "user": {"client-key-data": SECRET}},
    "a key in the place of its path": {"server": "https://127.0.0.1:1", "user": {"client-key": f"-----BEGIN KEY-----\n{SECRET}"}},
    "a token of OIDC that is missing": {"user": {"auth-provider": {"name": "oidc", "config": {"client-secret": SECRET}}}},
    "a token of OIDC that is none": {"user": {"auth-provider": {"name": "oidc", "config": {"id-token": f"{SECRET}.a.b"}}}},
    "a command that fails": {
        "user": {"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/false", "cmd-args": SECRET, "expiry": "x"}}}
    },
    "a program that fails": {
        "user": {"exec": {"apiVersion": "v1", "command": "sh", "args": ["-c", f"echo {SECRET} >&2; exit 1"], "env": []}}
    },
    "a program that says something else": {"user": {"exec": {"apiVersion": "v1", "command": "echo", "args": [SECRET]}}},
    "a program that is not there": {"user": {"exec": {"apiVersion": "v1", "command": "/none", "env": [{"name": "A", "value": SECRET}]}}},
    "a server with a password": {"server": f"http://me:{SECRET}@127.0.0.1:1"},
    "a proxy with a password": {"clusters": [{"name": "one", "cluster": {"server": "http://a.invalid", "proxy-url": f"http://me:{SECRET}@127.0.0.1:1"}}]},
    "a server that does not answer": {},
}  # fmt: skip


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("is_file", [False, True])
def test_no_error_shows_a_secret_of_a_kubeconfig(config, tmp_path, content, is_file):
    text = content if isinstance(content, str) else json.dumps(config(**content))
    access = Access(written(tmp_path, text) if is_file else text)
    with pytest.raises(PlatformError) as caught:
        Connection(access).send("GET", "/api")
    error: BaseException | None = caught.value
    assert "Fix: " in str(error)
    assert "\n" not in str(error)
    while error is not None:
        assert not any(secret in str(error) for secret in (SECRET, text[:40]) if secret.strip())
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert SECRET not in repr(access)


def test_a_program_that_gives_no_credentials_is_named_by_its_user(config):
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/none"}}
    with pytest.raises(PlatformError, match=r"the program of its user 'me' gave no credentials. Fix: run it by hand"):
        session(Access(json.dumps(config(user=user))))


def token_program(folder: Path, seconds: float) -> dict[str, Any]:
    """A user whose program counts how often it ran, and gives a token that lives so long."""
    program = f"""
import json, pathlib, sys, time
runs = pathlib.Path({str(folder / "runs")!r})
runs.open("a").write("x")
until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + {seconds}))
status = {{"token": f"token-{{len(runs.read_text())}}", "expirationTimestamp": until}}
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
"""
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": ["-c", program]}}


@pytest.mark.parametrize(("seconds", "renewed_after"), [(3600, 3300), (300, 150), (1, 10)])
def test_a_token_is_renewed_before_it_ends_but_not_with_every_request(config, tmp_path, seconds, renewed_after):
    found = session(Access(json.dumps(config(user=token_program(tmp_path, seconds)))))
    assert found.renew_at - found.since == pytest.approx(renewed_after, abs=10 if seconds > 1 else 0.1)
    assert (tmp_path / "runs").read_text() == "x"


def test_what_a_diff_needs_comes_without_the_official_client():
    code = "import sys; from isthmus.apiserver.kubeconfig import *; active_cluster(Access()); sys.exit('kubernetes' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
