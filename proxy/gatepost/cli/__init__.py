"""The command line: reads arguments, prints for people, sets exit codes. Each command imports what it needs itself."""
