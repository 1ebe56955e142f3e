"""The `isthmus` command: the table of its commands.

Every command pays for what is imported here. A command is imported when it is used, and what it needs when it runs.
"""

from isthmus.cli.shared.commands import Command, Group, Table, app_of
from isthmus.errors import IsthmusError

_ROOM = "isthmus.cli.commands"
COMMANDS: Table = {
    "predict": Command(f"{_ROOM}.predict.command", "Ask the cloud role and every device of a stack (or one URL) for a prediction."),
    "status": Command(f"{_ROOM}.status.command", "Show what a stack runs: gateways, servers, devices, releases, versions, health."),
    "logs": Command(f"{_ROOM}.logs.command", "Show what the parts of a stack wrote: gateways, servers, devices."),
    "rollback": Command(f"{_ROOM}.rollback.command", "Send all traffic of a service to its stable release."),
    "doctor": Command(
        f"{_ROOM}.doctor.command", "Show what Isthmus found on this machine, which version, from where, and what is missing."
    ),
    "advise": Command(
        f"{_ROOM}.advise.command",
        "Say which deployment mode fits (cloud, edge or hybrid), why, and what would change the answer.",
    ),
    "batch": Command(
        f"{_ROOM}.batch.command", "Score a file of examples with all servers of a service at once, each with its part by formula 2."
    ),
    "compile": Command(f"{_ROOM}.compile.command", "Compile a model, run every variant on its evaluation data, and show which is best."),
    "partition": Command(
        f"{_ROOM}.partition.command", "Split a network between device and cloud: every place to cut it, and the fastest at each bandwidth."
    ),
    "plan": Command(f"{_ROOM}.plan.command", "Show the plan of what is deployed: servers, p95, load, cost; and what would be if."),
    "policy": Command(
        f"{_ROOM}.policy.command", "Solve where the requests of devices run, and show it: maps, gains, a week; write what devices read."
    ),
    "hybrid": Group(
        "One model in the cloud and on devices, as it runs.",
        {
            "watch": Command(f"{_ROOM}.hybrid.watch", "Show live where the requests of devices run, why, and where that is on the map."),
        },
    ),
    "fleet": Group(
        "What a fleet's devices are told, by its signed repository.",
        {
            "status": Command(f"{_ROOM}.fleet.status", "Show what a fleet is told: content, waves, limits, and when signatures expire."),
            "page": Command(f"{_ROOM}.fleet.page", "Show where a rollout stands, here, as a page, or as one that is kept up to date."),
            "watch": Command(f"{_ROOM}.fleet.watch", "Take a rollout through its gates: open, pause or take back, as devices say."),
            "devices": Command(f"{_ROOM}.fleet.devices", "Show a fleet's devices, and let in those that have used their tokens."),
            "enrol": Command(f"{_ROOM}.fleet.enrol", "Make a token by which a device joins, once; or gets new keys."),
            "move": Command(f"{_ROOM}.fleet.move", "Let devices of a former version move over, by a last document of its key."),
            "rekey": Command(f"{_ROOM}.fleet.rekey", "Give a fleet a new secret, of which its devices' keys are made."),
            "remove": Command(f"{_ROOM}.fleet.remove", "Take a device out of a fleet, or take back its token."),
            "access": Command(
                f"{_ROOM}.fleet.access", "Say to a store what each device may do: SeaweedFS's identities, or a policy of AWS."
            ),
            "counts": Command(f"{_ROOM}.fleet.counts", "Show what devices have told of their network and load, for isthmus policy."),
            "samples": Command(
                f"{_ROOM}.fleet.samples", "Open what devices have sent of what they were asked, where the stack asks for that."
            ),
            "promote": Command(f"{_ROOM}.fleet.promote", "Open the next wave of a fleet's rollout, or end it, whatever its gate says."),
            "pause": Command(f"{_ROOM}.fleet.pause", "Have a fleet's devices begin nothing new."),
            "resume": Command(f"{_ROOM}.fleet.resume", "Have a paused fleet go on."),
            "abort": Command(f"{_ROOM}.fleet.abort", "Bring a fleet's devices back to the content before, under a new number."),
            "refresh": Command(f"{_ROOM}.fleet.refresh", "Sign anew what would expire: for CI, some times a day."),
            "sweep": Command(f"{_ROOM}.fleet.sweep", "Remove bundles and deltas that nothing in force names any more."),
            "recover": Command(f"{_ROOM}.fleet.recover", "Mend what is lost, torn or foreign in a repository; no device is visited."),
        },
    ),
    "keys": Group(
        "The keys that a fleet's repository is signed with.",
        {
            "init": Command(f"{_ROOM}.keys.init", "Make a key ring: the keys of every role, and the first root."),
            "found": Command(f"{_ROOM}.keys.found", "Put the empty repository of a new key ring into a store."),
            "add": Command(f"{_ROOM}.keys.add", "Add a fleet to a repository."),
            "status": Command(
                f"{_ROOM}.keys.status", "Show every role's keys: where they are, when what they signed expires, what is due."
            ),
            "rotate": Command(f"{_ROOM}.keys.rotate", "Give a role new keys; the old ones have no say any more."),
            "revoke": Command(f"{_ROOM}.keys.revoke", "Take a stolen or lost key's say, in every role, and put another in its place."),
            "sign": Command(
                f"{_ROOM}.keys.sign", "Add the signatures of the root's keys that are here to a new root, in turns with others."
            ),
            "sampling": Command(f"{_ROOM}.keys.sampling", "Make the key that samples of inputs are encrypted to; or show its public half."),
            "resume": Command(f"{_ROOM}.keys.resume", "Finish a step that was broken off: the repository in line with the key ring."),
        },
    ),
    "group": Group(
        "Devices that see the same thing from several sides, and answer together.",
        {
            "learn": Command(
                f"{_ROOM}.group.learn", "Learn from labelled examples what each member's word is worth, and show what the group is worth."
            ),
        },
    ),
    "cache": Group(
        "The compiled releases that this machine keeps.",
        {
            "ls": Command(f"{_ROOM}.cache.ls", "Show every release in the cache, the one that was used last first."),
            "gc": Command(
                f"{_ROOM}.cache.gc",
                "Remove releases, the longest unused first, until the cache is no larger than that. What a running process uses stays.",
            ),
        },
    ),
}

app = app_of(COMMANDS, "AI models in the cloud, on edge fleets, or both.")


def main() -> None:
    """Runs the command; a mistake of the user's is one message, never a traceback."""
    try:
        app()
    except IsthmusError as error:
        from rich.console import Console
        from rich.markup import escape

        errors = Console(stderr=True)
        errors.print(f"[red]error:[/red] {escape(str(error))}", highlight=False)  # a message may hold [brackets] of its own
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
