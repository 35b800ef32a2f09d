"""The commands on sandboxes."""

from __future__ import annotations

from towline.cli.command import FILTER, FORMAT, Command
from towline.cli.flags import Flag

_NETWORKS = (
    Flag(
        "network",
        'Network to join, NAME or NAME,ip=..,alias=..; repeat for several (default "bridge")',
        "list",
        meta="NETWORK",
    ),
    Flag("network-alias", "Further name of the sandbox on the first network", "list", meta="NAME"),
    Flag("ip", "IPv4 address on the first network", "text", meta="ADDRESS"),
    Flag("ip6", "IPv6 address on the first network", "text", meta="ADDRESS"),
    Flag("link", "Name another sandbox for this one, SANDBOX[:ALIAS]", "list", meta="SANDBOX"),
    Flag("link-local-ip", "Link-local address on the first network", "list", meta="ADDRESS"),
    Flag("mac-address", "MAC address on the first network", "text", meta="MAC"),
)
_SERVICE = Flag("service", "Service of the cluster to belong to, and to join the networks of", "text", meta="SERVICE")
_PORTS = (
    Flag("publish", "Publish a port, [[IP:]HOST-PORT:]PORT[/PROTOCOL]; ranges too", "list", "p", "PORT"),
    Flag("publish-all", "Publish every exposed port on a free one", short="P"),
    Flag("expose", "Name a port that the sandbox serves, PORT[/PROTOCOL]", "list", meta="PORT"),
    Flag("label", "Label of the sandbox", "list", "l", "KEY=VALUE"),
)
_RUN_FLAGS = (
    Flag("name", "Name of the sandbox", "text", meta="NAME"),
    Flag("hostname", "Host name inside", "text", meta="NAME"),
    _SERVICE,
    *_NETWORKS,
    *_PORTS,
    Flag("detach", "Run in the background and print the id", short="d"),
    Flag("rm", "Remove the sandbox when the command ends"),
    Flag(
        "restart",
        'Start again when it ends: no, on-failure[:N], always, unless-stopped (default "no")',
        "text",
        meta="POLICY",
        choices=("no", "on-failure", "always", "unless-stopped"),
    ),
    Flag("env", "Set KEY=VALUE, or pass on KEY", "list", "e", "VARIABLE"),
    Flag("env-file", "Read such lines from a file", "list", meta="FILE"),
    Flag("workdir", "Directory of the command (default: this one)", "text", "w", "DIRECTORY"),
    Flag("dns", "Name server to ask", "list", meta="ADDRESS"),
    Flag("dns-search", "Domain to look names up in", "list", meta="DOMAIN"),
    Flag("dns-option", "Option of the resolver, as in resolv.conf", "list", meta="OPTION"),
    Flag("add-host", "Line for /etc/hosts, HOST:ADDRESS", "list", meta="HOST"),
    Flag("sysctl", "Kernel setting net.* of the sandbox", "list", meta="KEY=VALUE"),
)
_ALL = Flag("all", "Those that do not run too", short="a")

SANDBOX_COMMANDS = (
    Command(
        "run",
        "Run a command in a sandbox of its own",
        "run:run",
        _RUN_FLAGS,
        "COMMAND...",
        1,
        None,
        "programs",
        examples=(
            "towline run --rm --network web -- curl http://shop:8080/",
            "towline run -d --name shop --network web -p 8080:80 -- python3 -m http.server 80",
        ),
        program=True,
    ),
    Command(
        "attach",
        "Join a network namespace that exists already",
        "run:attach",
        (
            Flag("pid", "Namespace of this process", "text", meta="PID"),
            Flag("netns", "Namespace by its path", "text", meta="FILE"),
            _SERVICE,
            *_NETWORKS,
            *_PORTS,
        ),
        "NAME",
        1,
        1,
        examples=("towline attach vm1 --netns /run/netns/vm1 --network web",),
    ),
    Command(
        "ls",
        "List sandboxes",
        "sandbox_ls:ls",
        (
            _ALL,
            Flag("filter", FILTER + ": id, label, name, network, status", "list", "f", "FILTER"),
            Flag("format", "'table TEMPLATE', 'json' or a template such as '{{.Name}}'", "text", meta="TEMPLATE"),
            Flag("no-trunc", "Whole ids and commands"),
            Flag("quiet", "Ids only", short="q"),
        ),
        aliases=("ps", "list"),
        examples=("towline ls --all --filter network=web",),
    ),
    Command(
        "inspect",
        "Show sandboxes with their endpoints, and check the whole path of each",
        "sandbox_inspect:inspect",
        (Flag("format", FORMAT.text, "text", "f", "TEMPLATE"),),
        "SANDBOX...",
        1,
        None,
        "sandboxes",
        examples=("towline inspect shop", "towline inspect -f '{{.State}}' shop"),
    ),
    Command(
        "logs",
        "Show what a detached command has written",
        "sandbox_logs:logs",
        (
            Flag("follow", "Go on while it writes", short="f"),
            Flag("tail", 'Only the last lines (default "all")', "text", "n", "LINES"),
        ),
        "SANDBOX",
        1,
        1,
        "sandboxes",
    ),
    Command(
        "start",
        "Start sandboxes again",
        "sandbox_life:start",
        operand="SANDBOX...",
        least=1,
        most=None,
        completes="sandboxes",
    ),
    Command(
        "stop",
        "Stop sandboxes; they keep addresses and names",
        "sandbox_life:stop",
        (Flag("time", "Seconds until it is killed (default 10)", "text", "t", "SECONDS"),),
        "SANDBOX...",
        1,
        None,
        "sandboxes",
    ),
    Command(
        "rm",
        "Remove sandboxes",
        "sandbox_life:rm",
        (Flag("force", "End what runs; no error for one that does not exist", short="f"),),
        "SANDBOX...",
        1,
        None,
        "sandboxes",
        aliases=("remove",),
    ),
    Command(
        "exec",
        "Run a command in a running sandbox",
        "sandbox_exec:exec_in",
        (
            Flag("env", "Set KEY=VALUE, or pass on KEY", "list", "e", "VARIABLE"),
            Flag("workdir", "Directory of the command (default: this one)", "text", "w", "DIRECTORY"),
        ),
        "SANDBOX COMMAND...",
        2,
        None,
        "sandboxes",
        examples=("towline exec shop -- ip route",),
        program=True,
    ),
    Command(
        "top",
        "Watch networks, endpoints and their traffic",
        "top:top",
        (
            Flag("once", "Print one picture and end"),
            Flag("interval", "Seconds between pictures (default 1)", "text", "i", "SECONDS"),
        ),
    ),
)
