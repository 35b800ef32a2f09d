"""The commands on services."""

from __future__ import annotations

from towline.cli.command import FILTER, FORMAT, Command
from towline.cli.flags import Flag

_MODE = Flag(
    "endpoint-mode",
    'What its name stands for: one address of its own, or all members in turn (default "vip")',
    "text",
    meta="MODE",
    choices=("vip", "dnsrr"),
)
_PORT = "[PORT:]TARGET[/PROTOCOL] or target=..,published=..,protocol=..,mode=ingress|host,name=.."

SERVICE_COMMANDS = (
    Command("service", "Manage services: sandboxes of one name over all nodes"),
    Command(
        "service create",
        "Create a service; `towline run --service` adds members",
        "service_change:create",
        (
            _MODE,
            Flag("label", "Label of the service", "list", "l", "KEY=VALUE"),
            Flag("network", "Network of the cluster that it is on", "list", meta="NETWORK"),
            Flag("publish", f"Publish a port on every node, {_PORT}", "list", "p", "PORT"),
        ),
        "NAME",
        1,
        1,
        examples=(
            "towline service create --network wide -p 8080:80 shop",
            "towline run -d --service shop -- python3 -m http.server 80",
        ),
    ),
    Command(
        "service ls",
        "List services",
        "service_show:ls",
        (
            Flag("filter", FILTER + ": id, label, name", "list", "f", "FILTER"),
            Flag("format", "'table TEMPLATE', 'json' or a template such as '{{.Name}}'", "text", meta="TEMPLATE"),
            Flag("quiet", "Ids only", short="q"),
        ),
        aliases=("list",),
        examples=("towline service ls --format '{{.Name}} {{.Members}}'",),
    ),
    Command(
        "service inspect",
        "Show services with their addresses, ports and members",
        "service_show:inspect",
        (Flag("format", FORMAT.text, "text", "f", "TEMPLATE"),),
        "SERVICE...",
        1,
        None,
        "services",
    ),
    Command(
        "service update",
        "Change a service",
        "service_change:update",
        (
            _MODE,
            Flag("label-add", "Add or change a label", "list", meta="KEY=VALUE"),
            Flag("label-rm", "Remove a label", "list", meta="KEY"),
            Flag("network-add", "Add a network", "list", meta="NETWORK"),
            Flag("network-rm", "Remove a network", "list", meta="NETWORK"),
            Flag("publish-add", f"Publish a port, {_PORT}", "list", meta="PORT"),
            Flag("publish-rm", "Publish a port no more, by its target port: TARGET[/PROTOCOL]", "list", meta="PORT"),
        ),
        "SERVICE",
        1,
        1,
        "services",
        examples=("towline service update --publish-rm 80 --publish-add 8081:80 shop",),
    ),
    Command(
        "service rm",
        "Remove services; their members go on and belong to none",
        "service_change:rm",
        (Flag("force", "Also with running members; no error for one that does not exist", short="f"),),
        "SERVICE...",
        1,
        None,
        "services",
        aliases=("remove",),
    ),
)
