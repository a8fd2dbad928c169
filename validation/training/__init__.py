"""Students of one teacher from a configuration to a record: configuration, texts, losses, loop, runs, sweeps."""
