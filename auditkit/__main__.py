"""`python -m auditkit` is the command `auditkit`."""

from __future__ import annotations

import sys

from auditkit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
