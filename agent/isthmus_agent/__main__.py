"""`python -m isthmus_agent`: the program without its script."""

import sys

from isthmus_agent.cli.main import main

sys.exit(main())
