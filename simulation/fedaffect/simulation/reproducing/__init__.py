"""The papers' tables, each with one command: what is run for each row, and what was published beside it."""
