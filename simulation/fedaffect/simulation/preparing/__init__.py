"""Steps between a corpus on disk and the cohort that a federation learns from."""
