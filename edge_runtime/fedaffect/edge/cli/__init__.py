"""Sub-commands of `fedaffect edge`; each file is imported when its command is called."""
