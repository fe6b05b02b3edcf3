"""For operators and maintainers: what a machine lacks, and what of it to send."""
