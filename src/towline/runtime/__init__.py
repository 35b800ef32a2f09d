"""The process that lives in a sandbox: started, watched, stopped, found again, its output kept.

What the shim imports stays small (no msgspec, json, typing): every detached sandbox keeps one shim in memory.
"""
