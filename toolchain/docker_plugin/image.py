"""docker:index/remoteImage:RemoteImage, and the pull that a Container without its image needs."""

import docker
import docker.errors
from toolchain.docker_plugin.connection import Connection, NotFoundError, progress
from toolchain.docker_plugin.inputs import changes, plain, problems, state_of, with_defaults
from toolchain.docker_plugin.tables import REMOTE_IMAGE

from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.bags.handler import Call, Checked, Created, Difference, Found
from isthmus.plugin.values import UNKNOWN


def ensure(connection: Connection, client: docker.APIClient, name: str, platform: str, call: Call, *, again: bool = False) -> None:
    """Pulls an image that the host has not; again: also one that it has. Raises PlatformError."""
    if not again:
        try:
            client.inspect_image(name)
            return
        except docker.errors.ImageNotFound:
            pass
    what = f"image {name}: pulling it"
    auth = connection.auth(name)
    with connection.client(what):
        lines = client.pull(name, stream=True, decode=True, platform=platform or None, auth_config=dict(auth) if auth else None)
        for text, error in progress(lines):
            if error:
                raise connection.failure(what, error)
            call.progress(f"{name}: {text}")
            call.pause(0)  # ends the pull on Ctrl-C


class RemoteImage:
    """Blocking; each call is one resource."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check(self, call: Call, old_inputs: Bag, inputs: Bag) -> Checked:
        filled = with_defaults(REMOTE_IMAGE, inputs, old_inputs, call, named=False)
        return Checked(filled, problems(REMOTE_IMAGE, plain(filled.values)))

    def diff(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Difference:
        found = changes(REMOTE_IMAGE, old_inputs.values, inputs.values)
        # The same name pulled again: the old one's delete would take the new one away.
        return Difference(found, deletes_before_replace=old_inputs.values.get("name") == inputs.values.get("name"))

    def preview(self, call: Call, id: str, state: Bag | None, old_inputs: Bag, inputs: Bag) -> Bag:
        names = ("imageId", "repoDigest")
        return state_of(REMOTE_IMAGE, inputs, {name: state.values.get(name) if state else UNKNOWN for name in names})

    def create(self, call: Call, inputs: Bag) -> Created:
        wanted = plain(inputs.values)
        name = wanted["name"]
        with self._connection.client(f"image {name}: looking for it") as client:
            # Pull triggers mean: what the name stands for may have changed. A digest always stands for the same.
            again = bool(wanted.get("pullTriggers")) and "@" not in name
            ensure(self._connection, client, name, wanted.get("platform", ""), call, again=again)
        found = self._state(name, inputs)
        if found is None:
            raise self._connection.failure(f"image {name}", "it was pulled, and is not there")
        return Created(*found)

    def read(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> Found | None:
        name = old_inputs.values.get("name") or state.values.get("name")
        if not isinstance(name, str):
            raise self._connection.failure(f"image {id}", "an image can't be imported; let a program name it")
        found = self._state(name, old_inputs)
        return Found(found[0], old_inputs, found[1]) if found else None

    def update(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Bag:
        return self.create(call, inputs).state

    def delete(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> None:
        wanted = {**old_inputs.values, **state.values}
        if wanted.get("keepLocally"):
            return
        name = wanted["name"]
        try:
            with self._connection.client(f"image {name}: removing it") as client:
                # Another image may have got the name since.
                if client.inspect_image(name)["Id"] == wanted.get("imageId"):
                    client.remove_image(name, force=bool(wanted.get("forceRemove")))
        except NotFoundError:
            pass

    def _state(self, name: str, inputs: Bag) -> tuple[str, Bag] | None:
        try:
            with self._connection.client(f"image {name}: reading it") as client:
                found = client.inspect_image(name)
        except NotFoundError:
            return None
        digests = found.get("RepoDigests") or []
        own = [digest for digest in digests if digest.partition("@")[0] == _repository(name)]
        outputs = {"imageId": found["Id"], "repoDigest": (own or digests or [""])[0]}
        return f"{found['Id']}{name}", state_of(REMOTE_IMAGE, inputs, outputs)


def _repository(name: str) -> str:
    """`host:5000/a/b:tag@sha256:…` → `host:5000/a/b`."""
    bare = name.partition("@")[0]
    folder, slash, last = bare.rpartition("/")
    return folder + slash + last.partition(":")[0]
