"""What things of a fleet may be called. Apart from what signs and stores, which takes a while to import."""

import re

DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
