"""The paper's figures and tables, and those that it lacks, drawn from recorded results: one file for each.

Nothing is trained here and nothing is measured. Theory is a line, measurements are points with intervals, what says
nothing is shaded, and the paper's own printed numbers are marked as the paper's.
"""
