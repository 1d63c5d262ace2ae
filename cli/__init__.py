"""The ``coord`` command. While its modules are loaded Ctrl-C ends it at once, with no traceback."""

import signal
import sys
from pathlib import Path

_IS_THE_PROGRAM = sys.argv[0] == "-m" or Path(sys.argv[0]).name == "coord"  # -m: being looked up
if _IS_THE_PROGRAM and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
