"""One conversation, sans I/O: what may be done when, what is owed to whom, and the machine that ties it together."""
