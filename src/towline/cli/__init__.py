"""The `towline` command line. Imports late: a simple command answers in tens of milliseconds."""
