# bash completion for towline; made by `towline completion bash`.
_towline_offer() {
    local word
    for word in "$@"; do
        [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
    done
}

_towline_names() {
    local -a names
    local name
    mapfile -t names < <(towline "$@" --format '{{.Name}}' 2>/dev/null)
    for name in "${names[@]}"; do
        [[ $name == "$cur"* ]] && COMPREPLY+=("$(printf %q "$name")")
    done
}

_towline_programs() {
    mapfile -t COMPREPLY < <(compgen -c -- "$cur")
}

_towline() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at="" i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$at/${COMP_WORDS[i]}" in
            */--host|*/-H|*/--tlscacert|*/--tlscert|*/--tlskey) ((i++)) ;;
            /run) at=run ;;
            /attach) at=attach ;;
            /ls|/ps|/list) at=ls ;;
            /inspect) at=inspect ;;
            /logs) at=logs ;;
            /start) at=start ;;
            /stop) at=stop ;;
            /rm|/remove) at=rm ;;
            /exec) at=exec ;;
            /top) at=top ;;
            /network) at=network ;;
            network/create) at=network/create ;;
            network/ls|network/list) at=network/ls ;;
            network/inspect) at=network/inspect ;;
            network/rm|network/remove) at=network/rm ;;
            network/prune) at=network/prune ;;
            network/connect) at=network/connect ;;
            network/disconnect) at=network/disconnect ;;
            /service) at=service ;;
            service/create) at=service/create ;;
            service/ls|service/list) at=service/ls ;;
            service/inspect) at=service/inspect ;;
            service/update) at=service/update ;;
            service/rm|service/remove) at=service/rm ;;
            /cluster) at=cluster ;;
            cluster/status) at=cluster/status ;;
            cluster/rotate-key) at=cluster/rotate-key ;;
            cluster/managers) at=cluster/managers ;;
            cluster/backup) at=cluster/backup ;;
            cluster/restore) at=cluster/restore ;;
            /doctor) at=doctor ;;
            /events) at=events ;;
            /info) at=info ;;
            /version) at=version ;;
            /completion) at=completion ;;
            /help) at=help ;;
        esac
    done
    case "$at:$prev" in
        run:--service)
            _towline_names service ls
            return ;;
        run:--network)
            _towline_names network ls
            return ;;
        run:--link)
            _towline_names ls --all
            return ;;
        run:--restart)
            _towline_offer no on-failure always unless-stopped
            return ;;
        run:--env-file)
            compopt -o default
            return ;;
        attach:--netns)
            compopt -o default
            return ;;
        attach:--service)
            _towline_names service ls
            return ;;
        attach:--network)
            _towline_names network ls
            return ;;
        attach:--link)
            _towline_names ls --all
            return ;;
        network/create:--config-from)
            _towline_names network ls
            return ;;
        network/create:--driver|network/create:-d)
            _towline_offer bridge host null overlay
            return ;;
        network/create:--ipam-driver)
            _towline_offer default null
            return ;;
        network/create:--scope)
            _towline_offer local swarm global
            return ;;
        network/connect:--link)
            _towline_names ls --all
            return ;;
        service/create:--endpoint-mode)
            _towline_offer vip dnsrr
            return ;;
        service/create:--network)
            _towline_names network ls
            return ;;
        service/update:--endpoint-mode)
            _towline_offer vip dnsrr
            return ;;
        service/update:--network-add)
            _towline_names network ls
            return ;;
        service/update:--network-rm)
            _towline_names network ls
            return ;;
        *:--tlscacert|*:--tlscert|*:--tlskey)
            compopt -o default
            return ;;
        *:--host|\
        *:-H|\
        run:--name|\
        run:--hostname|\
        run:--network-alias|\
        run:--ip|\
        run:--ip6|\
        run:--link-local-ip|\
        run:--mac-address|\
        run:--publish|\
        run:-p|\
        run:--expose|\
        run:--label|\
        run:-l|\
        run:--env|\
        run:-e|\
        run:--workdir|\
        run:-w|\
        run:--dns|\
        run:--dns-search|\
        run:--dns-option|\
        run:--add-host|\
        run:--sysctl|\
        attach:--pid|\
        attach:--network-alias|\
        attach:--ip|\
        attach:--ip6|\
        attach:--link-local-ip|\
        attach:--mac-address|\
        attach:--publish|\
        attach:-p|\
        attach:--expose|\
        attach:--label|\
        attach:-l|\
        ls:--filter|\
        ls:-f|\
        ls:--format|\
        inspect:--format|\
        inspect:-f|\
        logs:--tail|\
        logs:-n|\
        stop:--time|\
        stop:-t|\
        exec:--env|\
        exec:-e|\
        exec:--workdir|\
        exec:-w|\
        top:--interval|\
        top:-i|\
        network/create:--aux-address|\
        network/create:--gateway|\
        network/create:--ip-range|\
        network/create:--ipam-opt|\
        network/create:--label|\
        network/create:--opt|\
        network/create:-o|\
        network/create:--subnet|\
        network/ls:--filter|\
        network/ls:-f|\
        network/ls:--format|\
        network/inspect:--format|\
        network/inspect:-f|\
        network/prune:--filter|\
        network/connect:--alias|\
        network/connect:--driver-opt|\
        network/connect:--gw-priority|\
        network/connect:--ip|\
        network/connect:--ip6|\
        network/connect:--link-local-ip|\
        network/connect:--mac-address|\
        service/create:--label|\
        service/create:-l|\
        service/create:--publish|\
        service/create:-p|\
        service/ls:--filter|\
        service/ls:-f|\
        service/ls:--format|\
        service/inspect:--format|\
        service/inspect:-f|\
        service/update:--label-add|\
        service/update:--label-rm|\
        service/update:--publish-add|\
        service/update:--publish-rm|\
        cluster/status:--format|\
        cluster/restore:--advertise-addr|\
        cluster/restore:--listen-addr|\
        cluster/restore:--data-path-addr|\
        events:--filter|\
        events:-f|\
        events:--format|\
        events:--since|\
        events:--until|\
        info:--format|\
        version:--format) return ;;
    esac
    case "$at:$cur" in
        :-*)
            _towline_offer --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        :*)
            _towline_offer run attach ls inspect logs start stop rm exec top network service cluster doctor events info version completion help ;;
        run:-*)
            _towline_offer --name --hostname --service --network --network-alias --ip --ip6 --link --link-local-ip --mac-address --publish --publish-all --expose --label --detach --rm --restart --env --env-file --workdir --dns --dns-search --dns-option --add-host --sysctl --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        run:*)
            _towline_programs ;;
        attach:-*)
            _towline_offer --pid --netns --service --network --network-alias --ip --ip6 --link --link-local-ip --mac-address --publish --publish-all --expose --label --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        ls:-*)
            _towline_offer --all --filter --format --no-trunc --quiet --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        inspect:-*)
            _towline_offer --format --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        inspect:*)
            _towline_names ls --all ;;
        logs:-*)
            _towline_offer --follow --tail --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        logs:*)
            _towline_names ls --all ;;
        start:-*)
            _towline_offer --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        start:*)
            _towline_names ls --all ;;
        stop:-*)
            _towline_offer --time --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        stop:*)
            _towline_names ls --all ;;
        rm:-*)
            _towline_offer --force --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        rm:*)
            _towline_names ls --all ;;
        exec:-*)
            _towline_offer --env --workdir --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        exec:*)
            _towline_names ls --all ;;
        top:-*)
            _towline_offer --once --interval --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network:-*)
            _towline_offer --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network:*)
            _towline_offer create ls inspect rm prune connect disconnect ;;
        network/create:-*)
            _towline_offer --attachable --aux-address --config-from --config-only --driver --gateway --ingress --internal --ip-range --ipam-driver --ipam-opt --ipv4 --ipv6 --label --opt --scope --subnet --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network/ls:-*)
            _towline_offer --filter --format --no-trunc --quiet --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network/inspect:-*)
            _towline_offer --format --verbose --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network/inspect:*)
            _towline_names network ls ;;
        network/rm:-*)
            _towline_offer --force --wait --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network/rm:*)
            _towline_names network ls ;;
        network/prune:-*)
            _towline_offer --filter --force --wait --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network/connect:-*)
            _towline_offer --alias --driver-opt --gw-priority --ip --ip6 --link --link-local-ip --mac-address --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network/connect:*)
            _towline_names network ls
            _towline_names ls --all ;;
        network/disconnect:-*)
            _towline_offer --force --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network/disconnect:*)
            _towline_names network ls
            _towline_names ls --all ;;
        service:-*)
            _towline_offer --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        service:*)
            _towline_offer create ls inspect update rm ;;
        service/create:-*)
            _towline_offer --endpoint-mode --label --network --publish --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        service/ls:-*)
            _towline_offer --filter --format --quiet --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        service/inspect:-*)
            _towline_offer --format --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        service/inspect:*)
            _towline_names service ls ;;
        service/update:-*)
            _towline_offer --endpoint-mode --label-add --label-rm --network-add --network-rm --publish-add --publish-rm --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        service/update:*)
            _towline_names service ls ;;
        service/rm:-*)
            _towline_offer --force --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        service/rm:*)
            _towline_names service ls ;;
        cluster:-*)
            _towline_offer --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        cluster:*)
            _towline_offer status rotate-key managers backup restore ;;
        cluster/status:-*)
            _towline_offer --format --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        cluster/rotate-key:-*)
            _towline_offer --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        cluster/managers:-*)
            _towline_offer --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        cluster/backup:-*)
            _towline_offer --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        cluster/restore:-*)
            _towline_offer --advertise-addr --listen-addr --data-path-addr --force --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        doctor:-*)
            _towline_offer --fix --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        events:-*)
            _towline_offer --filter --format --since --until --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        info:-*)
            _towline_offer --format --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        version:-*)
            _towline_offer --format --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        completion:-*)
            _towline_offer --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        completion:*)
            _towline_offer bash zsh fish ;;
        help:-*)
            _towline_offer --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        help:*)
            _towline_offer run attach ls inspect logs start stop rm exec top network service cluster doctor events info version completion help ;;
    esac
}
complete -F _towline towline
