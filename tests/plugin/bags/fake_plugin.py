"""A plugin that only these tests know: it makes everything that a base has to be able to pass on."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "components"))

from isthmus.errors import PlatformError, Problem
from isthmus.plugin import process
from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.bags.handler import Call, Checked, Created, Difference, Found, HalfMadeError
from isthmus.plugin.bags.names import automatic_name
from isthmus.plugin.bags.servicer import Servicer
from isthmus.plugin.diffs import Change
from isthmus.plugin.handler import NotCoveredError


class Box:
    def check(self, call: Call, old_inputs: Bag, inputs: Bag) -> Checked:
        problems = [Problem("lid", f"does not fit {inputs.values['key']}")] if inputs.values.get("lid") == "bad" else []
        return Checked(inputs.replaced({**inputs.values, "name": automatic_name(call), "named": call.names_allowed}), problems)

    def diff(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Difference:
        changed = [key for key in sorted(inputs.values) if inputs.values[key] != old_inputs.values.get(key)]
        return Difference([Change((key,), "update", key == "size") for key in changed], True)

    def preview(self, call: Call, id: str, state: Bag | None, old_inputs: Bag, inputs: Bag) -> Bag:
        return inputs

    def create(self, call: Call, inputs: Bag) -> Created:
        state = inputs.containing("__inputs", inputs)
        call.progress(f"making it with {inputs.values.get('key')}")
        if inputs.values.get("mode") == "half":
            raise HalfMadeError([f"the key {inputs.values['key']} is bent"], state, inputs, "box-1")
        if inputs.values.get("mode") == "fails":
            raise PlatformError(f"no box with {inputs.values['key']}")
        if inputs.values.get("mode") == "crashes":
            raise KeyError(inputs.values["key"])
        if inputs.values.get("mode") == "refused":
            raise NotCoveredError("no modes")
        while inputs.values.get("mode") == "waits":
            call.pause(0.05)
        return Created("box-1", state)

    def read(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> Found | None:
        unready = ["rusty"] if id == "rusty" else []
        return None if id == "gone" else Found(id, old_inputs, state, unready)

    def update(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Bag:
        return inputs.containing("__inputs", inputs)

    def delete(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> None:
        raise PlatformError(f"not deleting {state.nested('__inputs').values}")


class FakeProvider:
    package, version = "fake", "1.2.3"

    def check_settings(self, settings: Bag) -> Checked:
        return Checked(settings, [Problem(name, repr(value)) for name, value in settings.values.items()])

    def diff_settings(self, old: Bag, new: Bag) -> Difference:
        return Difference([Change((key,), "update", True) for key in new.values if new.values[key] != old.values.get(key)])

    def configure(self, settings: Bag) -> None:
        if "wrong" in settings.values:
            raise PlatformError(f"wrong: {settings.values['wrong']}")

    def handler(self, token: str) -> Box | None:
        return Box() if token == "fake:index:Box" else None


process.run("A plugin.", lambda engine: Servicer(FakeProvider(), engine), sys.argv[1:])
