"""Becomes the program that a launch file describes. supervisord starts this script; it imports nothing of Isthmus.

A launch file (mode 0600) holds the arguments and the environment as JSON: `{"command": [...], "environment": {...}}`. That
keeps secrets out of argument lists, and spares us supervisord's own quoting, which cannot spell every value.
"""

import json
import os
import sys


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        launch = json.load(file)
    command, environment = launch["command"], launch["environment"]
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - that it is no shell is the point
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\n")
        sys.exit(127)


main()
