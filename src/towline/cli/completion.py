"""`towline completion`: the script of a shell, made from the catalog; the scripts ask `towline` for network names."""

from __future__ import annotations

import sys

from towline.cli import flags
from towline.cli.flags import Parsed

SHELLS = ("bash", "zsh", "fish")


def completion(args: Parsed) -> int:
    sys.stdout.write(script(args.operands[0]))
    return 0


def script(shell: str) -> str:
    """Raises UsageError for a shell that is not among SHELLS."""
    if shell == "bash":
        from towline.cli.complete_bash import render
    elif shell == "zsh":
        from towline.cli.complete_zsh import render
    elif shell == "fish":
        from towline.cli.complete_fish import render
    else:
        raise flags.usage(f'no completion for "{shell}"; there are: {", ".join(SHELLS)}', "completion")
    return render()
