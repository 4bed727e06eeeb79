"""The program: ``python -m gennape`` or ``gennape``."""

import signal
import sys

from ._gennape import main as run


def main() -> int:
    """Runs the program on the process's arguments; the exit code."""
    # Ctrl-C would only be heard once the program is done.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
