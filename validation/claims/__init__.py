"""What all experiments share, typed from write to read: parts, findings, records, planted controls, grids."""
