"""A world in which migrations happen: two nodes, a record with compare-and-swap, everything that can go wrong.

Each epoch of the sandbox has its place and its objects; a migration takes it from one epoch to one that is new. A node
decides on what it last saw of the record, which may be old, and carries out one step at a time, any time later;
teardowns may come later still. Worlds are values, so that all of them can be visited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from towline.migrate.protocol import Act, Commit, Move, Step, advance, as_it_ended, source_step, target_step
from towline.model.errors import TowlineError
from towline.model.migration import Migration, SourceFacts, TargetFacts

NODES = ("east", "west")
DIGEST = "ab" * 32
_LATE = frozenset({Act.KILL, Act.TEAR_DOWN, Act.DISCARD, Act.DESTROY, Act.REMOVE, Act.UNRESERVE})


class Instance(NamedTuple):
    """What the node of an epoch has of it. process: none, running, frozen, held. network: none, silent, open, locked,
    forwarding. sent: the next epoch's node confirmed the images."""

    process: str = "none"
    network: str = "none"
    images_out: bool = False
    images_in: bool = False
    sent: bool = False
    reserved: bool = False
    released: bool = False


class Seen(NamedTuple):
    """A record as it can be seen: from which epoch to which, in what state. attempt: 0, but for a wrong protocol."""

    epoch: int = 0
    next: int = 1
    state: str = "planned"
    attempt: int = 0

    @property
    def id(self) -> str:
        return f"m{self.epoch}-{self.next}-{self.attempt}"


class Doing(NamedTuple):
    """A step of a node that is decided and not carried out: seen is what it was decided on."""

    epoch: int
    step: Act | str
    seen: Seen


class World(NamedTuple):
    """places: the node of each epoch. seen: what each node knows. mine: the migration that each node works on. doing:
    each node's step in flight. late: a teardown that was delayed. lost: the instance went with a host, or ended by
    itself."""

    record: Seen = Seen()
    places: tuple[int, ...] = (0, 1)
    instances: tuple[Instance, ...] = (Instance(process="running", network="open"), Instance())
    seen: tuple[Seen, Seen] = (Seen(), Seen())
    mine: tuple[Seen, Seen] = (Seen(), Seen())
    doing: tuple[Doing | None, Doing | None] = (None, None)
    late: Doing | None = None
    lost: bool = False
    ended: bool = False
    reboots: int = 0


def migration(seen: Seen, places: tuple[int, ...]) -> Migration:
    source, target = NODES[places[seen.epoch]], NODES[places[seen.next]]
    return Migration(seen.id, "web", source, target, seen.epoch, seen.next, state=seen.state, digest=DIGEST)  # type: ignore[arg-type]


def source_facts(instance: Instance) -> SourceFacts:
    process = instance.process if instance.process in ("running", "frozen") else "none"
    network = instance.network if instance.network in ("open", "locked", "forwarding") else "none"
    return SourceFacts(process, network, instance.images_out, instance.sent)  # type: ignore[arg-type]


def target_facts(instance: Instance) -> TargetFacts:
    process = instance.process if instance.process in ("running", "held") else "none"
    network = instance.network if instance.network in ("silent", "open") else "none"
    return TargetFacts(instance.reserved, process, network, instance.images_in, instance.released)  # type: ignore[arg-type]


def decide(world: World, node: int, *, failed: str = "", expired: bool = False) -> tuple[int, Step]:
    """(epoch, step) of a node by what it has seen."""
    mine = world.mine[node]
    epoch = mine.epoch if world.places[mine.epoch] == node else mine.next
    return epoch, _step(mine, world.seen[node], world.places, node, world.instances[epoch], failed, expired)


@cache
def _step(
    mine: Seen, seen: Seen, places: tuple[int, ...], node: int, have: Instance, failed: str, expired: bool
) -> Step:
    record = as_it_ended(migration(mine, places), migration(seen, places), NODES[node])
    if places[mine.epoch] == node:
        return source_step(record, source_facts(have), failed=failed, expired=expired)
    return target_step(record, target_facts(have), failed=failed, expired=expired)


def commit(world: World, doing: Doing, node: int | None) -> World:
    """node None: an operator."""
    record, seen = migration(world.record, world.places), doing.seen
    move = Move(seen.id, seen.epoch, seen.next, seen.state, doing.step, DIGEST)  # type: ignore[arg-type]
    try:
        after = advance(record, move, NODES[node] if node is not None else "", 0, manager=node is None)
    except TowlineError:
        return world
    return world._replace(record=world.record._replace(state=after.state))


def carry_out(world: World, doing: Doing, node: int, apply: Callable[[Instance, Act], Instance]) -> World:
    if not isinstance(doing.step, Act):
        return commit(world, doing, node)
    instances = list(world.instances)
    before = instances[doing.epoch]
    instances[doing.epoch] = apply(before, doing.step)
    if (
        doing.step is Act.SEND
        and before.images_out
        and world.record.id == doing.seen.id
        and world.record.state == "prepared"
    ):
        instances[doing.seen.next] = instances[doing.seen.next]._replace(images_in=True)
        instances[doing.epoch] = instances[doing.epoch]._replace(sent=True)
    return world._replace(instances=tuple(instances))


def effect(have: Instance, act: Act) -> Instance:
    """An act on the objects of one epoch; without effect where there is nothing to act on."""
    match act:
        case Act.LOCK if have.network == "open":
            return have._replace(network="locked")
        case Act.FREEZE if have.process in ("running", "frozen"):
            return have._replace(process="frozen", images_out=True, sent=False)
        case Act.FORWARD if have.network == "locked":
            return have._replace(network="forwarding")
        case Act.UNLOCK if have.network == "locked":
            return have._replace(network="open")
        case Act.THAW if have.process == "frozen":
            return have._replace(process="running")
        case Act.KILL | Act.DESTROY:
            return have._replace(process="none")
        case Act.TEAR_DOWN | Act.REMOVE:
            return have._replace(network="none")
        case Act.RESERVE:
            return have._replace(reserved=True)
        case Act.UNRESERVE:
            return have._replace(reserved=False)
        case Act.PREPARE if have.network == "none":
            return have._replace(network="silent")
        case Act.RESTORE if have.process == "none" and have.images_in and have.network == "silent":
            return have._replace(process="held")
        case Act.OPEN if have.network == "silent":
            return have._replace(network="open")
        case Act.RELEASE if have.process == "held":
            return have._replace(process="running", released=True)
        case Act.DISCARD:
            return have._replace(images_out=False, images_in=False, sent=False)
    return have


def begin(world: World) -> World:
    """Back again, or once more."""
    home = world.record.next if world.record.state == "done" else world.record.epoch
    places = (*world.places, 1 - world.places[home])
    return world._replace(record=Seen(home, len(world.places)), places=places, instances=(*world.instances, Instance()))


class Rules(NamedTuple):
    """What can happen. migrations: one after the other. reboots: how often a host may lose all that is in its kernel
    and memory. ends: the process may end by itself. at_once: a step that is decided on is carried out at once, or as a
    late teardown; what others do meanwhile they do before or after it."""

    migrations: int = 1
    reboots: int = 0
    ends: bool = False
    at_once: bool = False
    decide: Callable[..., tuple[int, Step]] = decide
    commit: Callable[[World, Doing, int | None], World] = commit
    effect: Callable[[Instance, Act], Instance] = effect
    begin: Callable[[World], World] = begin


def successors(world: World, rules: Rules) -> Iterator[tuple[str, World]]:
    """Everything that can happen next, with its name."""
    for node, name in enumerate(NODES):
        if world.seen[node] != world.record:
            yield f"{name} hears {world.record.state}", _with(world, "seen", node, world.record)
        doing = world.doing[node]
        if doing is None:
            yield from _thoughts(world, node, rules)
        else:
            yield f"{name} carries out {doing.step}", _done(world, node, doing, rules)
            yield f"{name} is killed", _with(world, "doing", node, None)
            if doing.step in _LATE and world.late is None:
                yield f"{doing.step} is delayed", _with(world, "doing", node, None)._replace(late=doing)
        if world.reboots < rules.reboots:
            yield f"{name} reboots", reboot(world, node)
    for epoch, have in enumerate(world.instances):
        if have.process == "running" and rules.ends:
            instances = (*world.instances[:epoch], have._replace(process="none"), *world.instances[epoch + 1 :])
            yield "the process ends", world._replace(instances=instances, lost=True, ended=True)
    if world.late is not None:
        done = carry_out(world, world.late, world.places[world.late.epoch], rules.effect)
        yield f"{world.late.step} comes late", done._replace(late=None)
    if world.record.state in ("planned", "reserved", "prepared", "frozen", "switched"):
        yield "an operator aborts", rules.commit(world, Doing(world.record.epoch, "aborted", world.record), None)
    if world.record.state in ("done", "aborted") and world.record.next + world.record.attempt < rules.migrations:
        yield f"another one after {world.record.state}", rules.begin(world)


def _thoughts(world: World, node: int, rules: Rules) -> Iterator[tuple[str, World]]:
    seen = world.seen[node]
    if world.mine[node].id != seen.id and rules.decide(world, node)[1] is None:
        yield f"{NODES[node]} turns to {seen.id}", _with(world, "mine", node, seen)
        return
    plain = rules.decide(world, node)
    for words, failed, expired in (("", "", False), (" as it failed", "it failed", False), (" late", "", True)):
        epoch, step = rules.decide(world, node, failed=failed, expired=expired)
        if step is None or (words and (epoch, step) == plain):
            continue
        doing = Doing(epoch, step.to if isinstance(step, Commit) else step, seen)
        if not rules.at_once:
            yield f"{NODES[node]} decides on {doing.step}{words}", _with(world, "doing", node, doing)
            continue
        yield f"{NODES[node]} carries out {doing.step}{words}", _done(world, node, doing, rules)
        if doing.step in _LATE and world.late is None:
            yield f"{doing.step} is delayed", world._replace(late=doing)


def _done(world: World, node: int, doing: Doing, rules: Rules) -> World:
    world = _with(world, "doing", node, None)
    if not isinstance(doing.step, Act):
        return rules.commit(world, doing, node)
    return carry_out(world, doing, node, rules.effect)


def reboot(world: World, node: int) -> World:
    """What was durable stays: reservations, `released`; images are in memory."""
    instances = list(world.instances)
    lost = world.lost
    for epoch, have in enumerate(world.instances):
        if world.places[epoch] != node:
            continue
        lost = lost or have.process != "none" or have.images_in
        instances[epoch] = Instance(reserved=have.reserved, released=have.released)
    return _with(world, "doing", node, None)._replace(instances=tuple(instances), lost=lost, reboots=world.reboots + 1)


def everybody_back(world: World, rules: Rules) -> World:
    """Nothing in flight any more, and everybody has heard everything."""
    world = world._replace(doing=(None, None), seen=(world.record, world.record))
    if world.late is not None:
        world = carry_out(world, world.late, world.places[world.late.epoch], rules.effect)._replace(late=None)
    return world


def settle(world: World, rules: Rules) -> World:
    """How it ends when nothing more goes wrong. AssertionError if it does not."""
    for _ in range(60):
        world = world._replace(seen=(world.record, world.record))
        steps = [(node, *rules.decide(world, node)) for node in range(2)]
        if all(step is None for _, _, step in steps) and any(mine.id != world.record.id for mine in world.mine):
            world = world._replace(mine=(world.record, world.record))
            continue
        if all(step is None for _, _, step in steps):
            if world.record.state in ("done", "aborted"):
                return world
            world = rules.commit(world, Doing(world.record.epoch, "aborted", world.record), None)  # the deadline
        for node, epoch, step in steps:
            if step is not None:
                act = step.to if isinstance(step, Commit) else step
                world = _done(world, node, Doing(epoch, act, world.seen[node]), rules)
    raise AssertionError(f"it never ends: {world}")


def _with(world: World, field: str, node: int, value: object) -> World:
    pair = list(getattr(world, field))
    pair[node] = value
    return world._replace(**{field: tuple(pair)})


def what_is_wrong(world: World) -> str:
    """ "" or which promise is broken in this world, whatever comes next."""
    running = [epoch for epoch, have in enumerate(world.instances) if have.process == "running"]
    if len(running) > 1:
        return f"it runs twice: {running}"
    if world.ended and running:
        return "what has ended lives again"
    live = [epoch for epoch, have in enumerate(world.instances) if have.network == "open"]
    if len(live) > 1:
        return f"its address has two owners: {live}"
    if any(have.process == "running" and have.network in ("silent", "forwarding") for have in world.instances):
        return "it runs and nobody hears it"
    return ""


def what_is_left(world: World) -> str:
    """Of a world that has settled: "" or what is not as it should be."""
    home = world.record.next if world.record.state == "done" else world.record.epoch
    for epoch, have in enumerate(world.instances):
        if epoch != home and have._replace(released=False, reserved=False) != Instance():
            return f"epoch {epoch} is not gone: {have}"
    have = world.instances[home]
    if have.images_in or have.images_out:
        return f"images are left: {have}"
    if world.lost:
        return "" if have.process in ("none", "running") else f"lost, and yet {have}"
    if have.process != "running" or have.network != "open":
        return f"nobody lives: {have}"
    return ""
