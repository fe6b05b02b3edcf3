"""Commands of the server: each parses, calls and prints, and is imported when called."""
