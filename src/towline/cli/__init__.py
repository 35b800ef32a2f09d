"""The `towline` command line. Imports late: a simple command answers in tens of milliseconds.

What that asks of this room: no module that runs for a simple command imports argparse, json, re, socket, typing,
dataclasses, msgspec or another room (each costs 5 to 30 ms, against 10 for Python itself). Hence the small own parser,
HTTP client and JSON glue, and plain classes with __slots__ where other rooms use structs.
"""
