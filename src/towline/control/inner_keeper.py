"""Brings the rules in one sandbox's namespace to what they should be. Writer thread."""

from __future__ import annotations

from collections.abc import Iterator

from towline.control.compare import Difference, SetInner
from towline.control.compare_inner import INNER_TABLES, changes_to
from towline.kernel.contract import InnerRules
from towline.model.info import Finding
from towline.model.inner import Inner
from towline.model.sandbox import Sandbox


class InnerKeeper:
    """Raises NamespaceGone, NotANamespace and KernelError."""

    def __init__(self, rules: InnerRules) -> None:
        self._rules = rules

    def compare(self, sandbox: Sandbox, inner: Inner) -> Iterator[Difference]:
        problems = []
        if changes_to(inner, self._rules.read(sandbox.netns, INNER_TABLES)):
            problems.append("rules for services are not as they should be")
        if inner.detour is not None and self._rules.detour(sandbox.netns) != inner.detour:
            problems.append("way back through the routing mesh is not as it should be")
        if problems:
            finding = Finding(f"sandbox {sandbox.name}", f"its {' and its '.join(problems)}", "correct them in place")
            yield Difference(finding, SetInner(sandbox.id, sandbox.netns, inner))

    def ensure(self, netns: str, inner: Inner) -> None:
        """Whatever is there now. The detour is there while rules lead to it."""
        if inner.detour is not None:
            self._rules.set_detour(netns, inner.detour)
        states = self._rules.read(netns, INNER_TABLES)
        if changes := changes_to(inner, states):
            self._rules.commit(netns, changes)
        if inner.detour is None and states:
            self._rules.set_detour(netns, None)
