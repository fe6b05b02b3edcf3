"""Commands of a researcher; each is imported when called."""
