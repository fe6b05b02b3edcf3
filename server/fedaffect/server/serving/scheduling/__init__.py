"""Which request is computed next, and together with which others."""
