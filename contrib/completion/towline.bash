# bash completion for towline; made by `towline completion bash`.
_towline_offer() {
    local word
    for word in "$@"; do
        [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
    done
}

_towline_networks() {
    local -a names
    local name
    mapfile -t names < <(towline network ls --format '{{.Name}}' 2>/dev/null)
    for name in "${names[@]}"; do
        [[ $name == "$cur"* ]] && COMPREPLY+=("$(printf %q "$name")")
    done
}

_towline() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at="" i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$at/${COMP_WORDS[i]}" in
            */--host|*/-H|*/--tlscacert|*/--tlscert|*/--tlskey) ((i++)) ;;
            /network) at=network ;;
            network/create) at=network/create ;;
            network/ls|network/list) at=network/ls ;;
            network/inspect) at=network/inspect ;;
            network/rm|network/remove) at=network/rm ;;
            network/prune) at=network/prune ;;
            /doctor) at=doctor ;;
            /events) at=events ;;
            /info) at=info ;;
            /version) at=version ;;
            /completion) at=completion ;;
            /help) at=help ;;
        esac
    done
    case "$at:$prev" in
        network/create:--config-from)
            _towline_networks
            return ;;
        network/create:--driver|network/create:-d)
            _towline_offer bridge host null
            return ;;
        network/create:--ipam-driver)
            _towline_offer default null
            return ;;
        network/create:--scope)
            _towline_offer local swarm global
            return ;;
        *:--tlscacert|*:--tlscert|*:--tlskey)
            compopt -o default
            return ;;
        *:--host|\
        *:-H|\
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
            _towline_offer network doctor events info version completion help ;;
        network:-*)
            _towline_offer --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network:*)
            _towline_offer create ls inspect rm prune ;;
        network/create:-*)
            _towline_offer --attachable --aux-address --config-from --config-only --driver --gateway --ingress --internal --ip-range --ipam-driver --ipam-opt --ipv4 --ipv6 --label --opt --scope --subnet --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network/ls:-*)
            _towline_offer --filter --format --no-trunc --quiet --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network/inspect:-*)
            _towline_offer --format --verbose --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network/inspect:*)
            _towline_networks ;;
        network/rm:-*)
            _towline_offer --force --wait --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
        network/rm:*)
            _towline_networks ;;
        network/prune:-*)
            _towline_offer --filter --force --wait --host --json --tlsverify --tlscacert --tlscert --tlskey --help ;;
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
            _towline_offer network doctor events info version completion help ;;
    esac
}
complete -F _towline towline
