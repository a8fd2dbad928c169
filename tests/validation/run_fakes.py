"""The command line on the fakes, for tests that kill it: ``python run_fakes.py TEACHER DATA JSON ARGUMENTS…``."""

from __future__ import annotations

import json
import sys

from tests.validation.fakes import audited_shortly, install, settings_of
from validation.__main__ import main
from validation.reports import audit

if __name__ == "__main__":
    teacher, data, changes, *arguments = sys.argv[1:]
    audit.run_audit = audited_shortly
    install(settings_of(teacher, data, **json.loads(changes)))
    main(arguments)
