"""A file a paper: its tables as rows, with every figure that it reports."""
