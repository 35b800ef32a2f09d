"""The commands on networks."""

from __future__ import annotations

from towline.cli.command import FILTER, FORMAT, Command
from towline.cli.flags import Flag

_CREATE_FLAGS = (
    Flag("attachable", "Let containers outside of services attach"),
    Flag("aux-address", "Addresses the allocator must leave alone, NAME=ADDRESS", "list", meta="MAP", commas=True),
    Flag("config-from", "Take the configuration from this network", "text", meta="NETWORK"),
    Flag("config-only", "Make a configuration for other networks to take"),
    Flag(
        "driver",
        'Driver of the network (default "bridge")',
        "text",
        "d",
        "DRIVER",
        choices=("bridge", "host", "null", "overlay"),
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

NETWORK_COMMANDS = (
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
            Flag("filter", FILTER + ": driver, id, label, name, scope, type, dangling", "list", "f", "FILTER"),
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
            Flag("format", FORMAT.text, "text", "f", "TEMPLATE"),
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
        "network connect",
        "Connect a sandbox to a network",
        "network_connect:connect",
        (
            Flag("alias", "Further name of the sandbox on the network", "list", meta="NAME"),
            Flag("driver-opt", "Option of the endpoint", "list", meta="KEY=VALUE"),
            Flag("gw-priority", "The endpoint with the highest is the default gateway", "text", meta="NUMBER"),
            Flag("ip", "IPv4 address", "text", meta="ADDRESS"),
            Flag("ip6", "IPv6 address", "text", meta="ADDRESS"),
            Flag("link", "Name another sandbox for this one, SANDBOX[:ALIAS]", "list", meta="SANDBOX"),
            Flag("link-local-ip", "Link-local address to add", "list", meta="ADDRESS"),
            Flag("mac-address", "MAC address", "text", meta="MAC"),
        ),
        "NETWORK SANDBOX",
        2,
        2,
        "networks sandboxes",
        examples=("towline network connect --ip 10.9.0.7 --alias db web shop",),
    ),
    Command(
        "network disconnect",
        "Disconnect a sandbox from a network",
        "network_connect:disconnect",
        (Flag("force", "Even if the sandbox is gone", short="f"),),
        "NETWORK SANDBOX",
        2,
        2,
        "networks sandboxes",
    ),
)
