# fish completion for towline; made by `towline completion fish`.
function __towline_networks
    towline network ls --format '{{.Name}}' 2>/dev/null
end

# True if the words before the cursor, without flags, are these.
function __towline_at
    set -l words (string match -v -- '-*' (commandline -opc))[2..-1]
    test "$words" = "$argv"
end

# True if they begin with these.
function __towline_in
    set -l words (string match -v -- '-*' (commandline -opc))[2..-1]
    set -l count (count $argv)
    test (count $words) -ge $count; and test "$words[1..$count]" = "$argv"
end

complete -c towline -f
complete -c towline -l host -s H -x -d 'Daemon to talk to: unix://PATH or tcp://HOST:PORT'
complete -c towline -l json -d 'Machine-readable output'
complete -c towline -l tlsverify -d 'Use TLS and verify the daemon (tcp:// only)'
complete -c towline -l tlscacert -r -F -d 'Trust only certificates signed by this CA'
complete -c towline -l tlscert -r -F -d 'Certificate of this client'
complete -c towline -l tlskey -r -F -d 'Key of this client\'s certificate'
complete -c towline -l help -s h -d 'Show help'
complete -c towline -n '__towline_at' -a network -d 'Manage networks'
complete -c towline -n '__towline_at network' -a create -d 'Create a network'
complete -c towline -n '__towline_at network' -a ls -d 'List networks'
complete -c towline -n '__towline_at network' -a inspect -d 'Show networks in detail'
complete -c towline -n '__towline_at network' -a rm -d 'Remove networks'
complete -c towline -n '__towline_at network' -a prune -d 'Remove all unused networks'
complete -c towline -n '__towline_at' -a doctor -d 'Compare what is stored with the kernel, and explain each difference'
complete -c towline -n '__towline_at' -a events -d 'Show what happens, as it happens'
complete -c towline -n '__towline_at' -a info -d 'Show the state of the daemon'
complete -c towline -n '__towline_at' -a version -d 'Show the versions of client and daemon'
complete -c towline -n '__towline_at' -a completion -d 'Print the completion script of a shell'
complete -c towline -n '__towline_at' -a help -d 'Show help for a command'
complete -c towline -n '__towline_in network create' -l attachable -d 'Let containers outside of services attach'
complete -c towline -n '__towline_in network create' -l aux-address -x -d 'Addresses the allocator must leave alone, NAME=ADDRESS'
complete -c towline -n '__towline_in network create' -l config-from -x -a '(__towline_networks)' -d 'Take the configuration from this network'
complete -c towline -n '__towline_in network create' -l config-only -d 'Make a configuration for other networks to take'
complete -c towline -n '__towline_in network create' -l driver -s d -x -a 'bridge host null' -d 'Driver of the network (default "bridge")'
complete -c towline -n '__towline_in network create' -l gateway -x -d 'Gateway of the subnet it lies in'
complete -c towline -n '__towline_in network create' -l ingress -d 'Make the routing-mesh network of a cluster'
complete -c towline -n '__towline_in network create' -l internal -d 'No way out of the network'
complete -c towline -n '__towline_in network create' -l ip-range -x -d 'Hand out addresses of this part of a subnet only'
complete -c towline -n '__towline_in network create' -l ipam-driver -x -a 'default null' -d 'Address allocator (default "default")'
complete -c towline -n '__towline_in network create' -l ipam-opt -x -d 'Option of the address allocator'
complete -c towline -n '__towline_in network create' -l ipv4 -d 'Give IPv4 addresses (default true)'
complete -c towline -n '__towline_in network create' -l ipv6 -d 'Give IPv6 addresses'
complete -c towline -n '__towline_in network create' -l label -x -d 'Label of the network'
complete -c towline -n '__towline_in network create' -l opt -s o -x -d 'Option of the driver'
complete -c towline -n '__towline_in network create' -l scope -x -a 'local swarm global' -d 'Scope of the network'
complete -c towline -n '__towline_in network create' -l subnet -x -d 'Subnet of the network; repeat for several'
complete -c towline -n '__towline_in network ls' -l filter -s f -x -d 'Show only what matches KEY=VALUE: driver, id, label, name, scope, type, dangling'
complete -c towline -n '__towline_in network ls' -l format -x -d '\'table TEMPLATE\', \'json\' or a template such as \'{{.Name}}\''
complete -c towline -n '__towline_in network ls' -l no-trunc -d 'Whole ids'
complete -c towline -n '__towline_in network ls' -l quiet -s q -d 'Ids only'
complete -c towline -n '__towline_in network inspect' -l format -s f -x -d 'Print each by a template such as \'{{.Name}}\', or \'json\''
complete -c towline -n '__towline_in network inspect' -l verbose -s v -d 'With what is known for diagnosis'
complete -c towline -n '__towline_in network inspect' -a '(__towline_networks)'
complete -c towline -n '__towline_in network rm' -l force -s f -d 'No error for a network that does not exist'
complete -c towline -n '__towline_in network rm' -l wait -d 'Until the kernel has removed everything'
complete -c towline -n '__towline_in network rm' -a '(__towline_networks)'
complete -c towline -n '__towline_in network prune' -l filter -x -d 'Only those that match: label=, label!=, until='
complete -c towline -n '__towline_in network prune' -l force -s f -d 'Do not ask'
complete -c towline -n '__towline_in network prune' -l wait -d 'Until the kernel has removed everything'
complete -c towline -n '__towline_in doctor' -l fix -d 'Repair what differs'
complete -c towline -n '__towline_in events' -l filter -s f -x -d 'Show only what matches KEY=VALUE: type, event, network, scope'
complete -c towline -n '__towline_in events' -l format -x -d 'Print each by a template such as \'{{.Name}}\', or \'json\''
complete -c towline -n '__towline_in events' -l since -x -d 'Begin with events of this time: RFC 3339, seconds, or a duration such as 10m'
complete -c towline -n '__towline_in events' -l until -x -d 'End at this time'
complete -c towline -n '__towline_in info' -l format -x -d 'Print each by a template such as \'{{.Name}}\', or \'json\''
complete -c towline -n '__towline_in version' -l format -x -d 'Print each by a template such as \'{{.Name}}\', or \'json\''
complete -c towline -n '__towline_in completion' -a 'bash zsh fish'
complete -c towline -n '__towline_in help' -a 'network doctor events info version completion help'
