"""Every command with its flags, as data: the parser, the help pages and the completion scripts read it."""

from __future__ import annotations

from towline.cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Command:
    """handler: "module:function" in this package, imported when the command runs; "" for a group.

    least, most: how many operands it takes (most None: any number). operand: its name in the usage line.
    completes: what operands are, for completion: "networks", "commands", or words.
    """

    __slots__ = ("aliases", "completes", "examples", "flags", "handler", "least", "most", "operand", "path", "summary")

    def __init__(
        self,
        path: str,
        summary: str,
        handler: str = "",
        flags: Sequence[Flag] = (),
        operand: str = "",
        least: int = 0,
        most: int | None = 0,
        completes: str = "",
        aliases: Sequence[str] = (),
        examples: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.summary = summary
        self.handler = handler
        self.flags = flags
        self.operand = operand
        self.least = least
        self.most = most
        self.completes = completes
        self.aliases = aliases
        self.examples = examples


_FILTER = "Show only what matches KEY=VALUE"
_FORMAT = Flag("format", "Print each by a template such as '{{.Name}}', or 'json'", "text", meta="TEMPLATE")

GLOBAL_FLAGS = (
    Flag("host", "Daemon to talk to: unix://PATH or tcp://HOST:PORT", "text", "H", "URL"),
    Flag("json", "Machine-readable output"),
    Flag("tlsverify", "Use TLS and verify the daemon (tcp:// only)"),
    Flag("tlscacert", "Trust only certificates signed by this CA", "text", meta="FILE"),
    Flag("tlscert", "Certificate of this client", "text", meta="FILE"),
    Flag("tlskey", "Key of this client's certificate", "text", meta="FILE"),
    Flag("help", "Show help", short="h"),
)

_CREATE_FLAGS = (
    Flag("attachable", "Let containers outside of services attach"),
    Flag("aux-address", "Addresses the allocator must leave alone, NAME=ADDRESS", "list", meta="MAP", commas=True),
    Flag("config-from", "Take the configuration from this network", "text", meta="NETWORK"),
    Flag("config-only", "Make a configuration for other networks to take"),
    Flag(
        "driver", 'Driver of the network (default "bridge")', "text", "d", "DRIVER", choices=("bridge", "host", "null")
    ),
    Flag("gateway", "Gateway of the subnet it lies in", "list", meta="ADDRESS", commas=True),
    Flag("ingress", "Make the routing-mesh network of a cluster"),
    Flag("internal", "No way out of the network"),
    Flag("ip-range", "Hand out addresses of this part of a subnet only", "list", meta="CIDR", commas=True),
    Flag("ipam-driver", 'Address allocator (default "default")', "text", meta="DRIVER", choices=("default", "null")),
    Flag("ipam-opt", "Option of the address allocator", "list", meta="KEY=VALUE"),
    Flag("ipv4", "Give IPv4 addresses (default true)"),
    Flag("ipv6", "Give IPv6 addresses"),
    Flag("label", "Label of the network", "list", meta="KEY=VALUE"),
    Flag("opt", "Option of the driver", "list", "o", "KEY=VALUE"),
    Flag("scope", "Scope of the network", "text", meta="SCOPE", choices=("local", "swarm", "global")),
    Flag("subnet", "Subnet of the network; repeat for several", "list", meta="CIDR", commas=True),
)

COMMANDS = (
    Command("network", "Manage networks"),
    Command(
        "network create",
        "Create a network",
        "network_create:create",
        _CREATE_FLAGS,
        "NETWORK",
        1,
        1,
        examples=("towline network create web", "towline network create --subnet 10.9.0.0/24 --ipv6 back"),
    ),
    Command(
        "network ls",
        "List networks",
        "network_ls:ls",
        (
            Flag("filter", _FILTER + ": driver, id, label, name, scope, type, dangling", "list", "f", "FILTER"),
            Flag("format", "'table TEMPLATE', 'json' or a template such as '{{.Name}}'", "text", meta="TEMPLATE"),
            Flag("no-trunc", "Whole ids"),
            Flag("quiet", "Ids only", short="q"),
        ),
        aliases=("list",),
        examples=("towline network ls -f driver=bridge", "towline network ls --format 'table {{.Name}}\\t{{.Driver}}'"),
    ),
    Command(
        "network inspect",
        "Show networks in detail",
        "network_inspect:inspect",
        (
            Flag("format", _FORMAT.text, "text", "f", "TEMPLATE"),
            Flag("verbose", "With what is known for diagnosis", short="v"),
        ),
        "NETWORK...",
        1,
        None,
        "networks",
        examples=("towline network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}' web",),
    ),
    Command(
        "network rm",
        "Remove networks",
        "network_rm:rm",
        (
            Flag("force", "No error for a network that does not exist", short="f"),
            Flag("wait", "Until the kernel has removed everything"),
        ),
        "NETWORK...",
        1,
        None,
        "networks",
        aliases=("remove",),
    ),
    Command(
        "network prune",
        "Remove all unused networks",
        "network_rm:prune",
        (
            Flag("filter", "Only those that match: label=, label!=, until=", "list", meta="FILTER"),
            Flag("force", "Do not ask", short="f"),
            Flag("wait", "Until the kernel has removed everything"),
        ),
    ),
    Command(
        "doctor",
        "Compare what is stored with the kernel, and explain each difference",
        "doctor:doctor",
        (Flag("fix", "Repair what differs"),),
    ),
    Command(
        "events",
        "Show what happens, as it happens",
        "events:events",
        (
            Flag("filter", _FILTER + ": type, event, network, scope", "list", "f", "FILTER"),
            _FORMAT,
            Flag(
                "since",
                "Begin with events of this time: RFC 3339, seconds, or a duration such as 10m",
                "text",
                meta="TIME",
            ),
            Flag("until", "End at this time", "text", meta="TIME"),
        ),
        examples=("towline events --since 10m --until 0s",),
    ),
    Command("info", "Show the state of the daemon", "info:info", (_FORMAT,)),
    Command("version", "Show the versions of client and daemon", "version:version", (_FORMAT,)),
    Command(
        "completion",
        "Print the completion script of a shell",
        "completion:completion",
        operand="bash|zsh|fish",
        least=1,
        most=1,
        completes="bash zsh fish",
        examples=("source <(towline completion bash)",),
    ),
    Command(
        "help", "Show help for a command", "pages:help_command", operand="[COMMAND]", most=None, completes="commands"
    ),
)


def find(path: str) -> Command | None:
    """The command of this path ("network ls"), aliases included."""
    for command in COMMANDS:
        if command.path == path:
            return command
    group, _, last = path.rpartition(" ")
    for command in COMMANDS:
        if last in command.aliases and command.path.rpartition(" ")[0] == group:
            return command
    return None


def children(group: str) -> list[Command]:
    """Commands directly below a group; "" is the top."""
    return [command for command in COMMANDS if command.path.rpartition(" ")[0] == group]
