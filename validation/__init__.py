"""The harness: trains students of real teachers, measures, and asks theorykit for a verdict on each statement."""
