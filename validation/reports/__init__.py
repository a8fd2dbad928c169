"""From presets to records, and from records to the table of verdicts: running, planning, telling."""
