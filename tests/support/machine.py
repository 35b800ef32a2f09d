"""The emulated machine of the vm ring (scripts/vmrun.py): whether we are in it, and its kernel's modules."""

from __future__ import annotations

import os
import subprocess

import pytest


def inside() -> bool:
    return os.environ.get("TOWLINE_VM") == "1"


def need_machine() -> None:
    """Skip outside: `make vm` runs these tests."""
    if not inside():
        pytest.skip("needs the full kernel of `make vm`")


def load(*modules: str) -> None:
    """Kernel modules that nothing loads by itself."""
    for module in modules:
        done = subprocess.run(["modprobe", module], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"modprobe {module}: {done.stderr.strip()}"
