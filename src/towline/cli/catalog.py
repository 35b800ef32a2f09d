"""Every command with its flags, as data: the parser, the help pages and the completion scripts read it."""

from __future__ import annotations

from towline.cli.catalog_networks import NETWORK_COMMANDS
from towline.cli.catalog_sandboxes import SANDBOX_COMMANDS
from towline.cli.catalog_services import SERVICE_COMMANDS
from towline.cli.command import FILTER, FORMAT, Command
from towline.cli.flags import Flag

GLOBAL_FLAGS = (
    Flag("host", "Daemon to talk to: unix://PATH or tcp://HOST:PORT", "text", "H", "URL"),
    Flag("json", "Machine-readable output"),
    Flag("tlsverify", "Use TLS and verify the daemon (tcp:// only)"),
    Flag("tlscacert", "Trust only certificates signed by this CA", "text", meta="FILE"),
    Flag("tlscert", "Certificate of this client", "text", meta="FILE"),
    Flag("tlskey", "Key of this client's certificate", "text", meta="FILE"),
    Flag("help", "Show help", short="h"),
)

COMMANDS = (
    *SANDBOX_COMMANDS,
    *NETWORK_COMMANDS,
    *SERVICE_COMMANDS,
    Command("cluster", "Look at the cluster that this host is a part of"),
    Command(
        "cluster status",
        "Show how each node of the cluster is, and how far behind",
        "cluster_status:status",
        (Flag("format", "'table TEMPLATE', 'json' or a template such as '{{.Hostname}}'", "text", meta="TEMPLATE"),),
        examples=("towline cluster status --format '{{.Hostname}} {{.State}} {{.Lag}}'",),
    ),
    Command(
        "cluster rotate-key",
        "Begin to use a new key for encrypted networks on this node",
        "cluster_status:rotate_key",
    ),
    Command(
        "cluster managers",
        "Tell this node where the managers are, when all of them have new addresses",
        "cluster_backup:managers",
        operand="HOST[:PORT]...",
        least=1,
        most=None,
        examples=("towline cluster managers 192.0.2.1 192.0.2.2:2377",),
    ),
    Command(
        "cluster backup",
        "Write what the cluster is to a file, with its secrets; on a manager",
        "cluster_backup:backup",
        operand="FILE",
        least=1,
        most=1,
        examples=("towline cluster backup /var/backups/towline-$(date +%F).backup",),
    ),
    Command(
        "cluster restore",
        "Go on with the cluster of a backup, on this node as its only manager",
        "cluster_backup:restore",
        (
            Flag("advertise-addr", "Address or interface by which others reach this node", "text", meta="ADDR"),
            Flag("listen-addr", "Address and port to listen on (default 0.0.0.0:2377)", "text", meta="ADDR"),
            Flag("data-path-addr", "Address or interface for packets of networks", "text", meta="ADDR"),
            Flag("force", "Also on a manager that works: what came after the backup is lost"),
        ),
        operand="FILE",
        least=1,
        most=1,
        examples=("towline cluster restore --advertise-addr 192.0.2.1 towline.backup",),
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
            Flag("filter", FILTER + ": type, event, network, scope", "list", "f", "FILTER"),
            FORMAT,
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
    Command("info", "Show the state of the daemon", "info:info", (FORMAT,)),
    Command("version", "Show the versions of client and daemon", "version:version", (FORMAT,)),
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
