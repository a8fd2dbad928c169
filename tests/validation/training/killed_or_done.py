"""Work for the processes of a test, in a file of its own: they import little."""

import os
import signal

from theorykit.errors import InputError


def killed_or_done(task):
    """Be killed over the task of seed 0, fail over that of seed 1, and do any other."""
    if task.config.shared.seed == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if task.config.shared.seed == 1:
        raise InputError("a reason")
