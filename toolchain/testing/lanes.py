"""Which tests run beside which. See docs/testing.md."""

ALONE, LANE, IN_ORDER = "alone", "lane", "in_order"
"""Marks."""
SIDE_BY_SIDE = "side by side"
"""The part of the tests without marks: they need nothing of their own, and run in as many processes as the machine has cores."""
LANES = {
    "first cluster": "tests on a cluster, which wait more than they work, with a cluster of their own",
    "second cluster": "the same, on another cluster",
    "machines": "tests that make whole machines of another kind: Docker hosts, and a cluster to look at the cluster itself",
}
"""Marks `lane(name)`: each lane is a process of its own."""
QUIET = "alone"
"""The part of the tests that are marked `alone` and no more: they measure the machine, and nothing runs beside them."""
AGAIN = "again, alone"
"""The part of what failed, run once more with nothing beside it."""
WAVES = (((SIDE_BY_SIDE,), ("first cluster", "second cluster", "machines")), ((QUIET,),))
"""Waves, one after another, of rows at the same time, of parts one after another: on 2 cores there is one cluster at once, beside the tests
that need none, and neither waits for the other."""

TOGETHER = (
    "tests/provider/docker",
    "tests/provider/handlers/kubernetes",
    "tests/server",
    "tests/toolchain/docker_plugin",
    "tests/toolchain/images",
    "tests/toolchain/kubernetes_plugin",
)
"""Folders whose files share what takes long to start (a Docker engine, a control plane, TensorFlow): one process has all of them."""


def unit_of(file: str) -> str:
    """What one process of the tests side by side has whole: a file, or the folder of it. file: from the project's root."""
    return next((folder for folder in TOGETHER if file.startswith(f"{folder}/")), file)


def part_of(marks: dict[str, tuple[object, ...]]) -> str:
    """The part that a test belongs to. marks: name → arguments. Raises ValueError for a lane that there is not."""
    if lane := marks.get(LANE):
        if len(lane) != 1 or lane[0] not in LANES:
            raise ValueError(f"lane{lane!r} is none; expected one of: {', '.join(LANES)}")
        if ALONE not in marks:
            raise ValueError(f"lane({lane[0]!r}) without `alone`: it would run among the others, too")
        return str(lane[0])
    return QUIET if ALONE in marks else SIDE_BY_SIDE
