"""Files other programs read and write: labels, lineages, Cell Tracking Challenge data sets."""
