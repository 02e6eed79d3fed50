# bash completion for agentjail(1)

_agentjail() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local commands='run plan profiles doctor selftest trust untrust log report revoke completion version'
    local flags='--profile -p --project --ro --rw --hide --protect --unprotect --home --env --secret --allow --deny --net --limit --tty
        --allow-degraded --name --report --quiet -q --debug --help'
    local valued=' --profile -p --project --ro --rw --hide --protect --unprotect --home --env --secret --allow --deny --net --limit --tty
        --allow-degraded --name --report '
    valued=" ${valued//[[:space:]]/ } "
    COMPREPLY=()

    # Behind "--", and behind the first word of run and plan that is no flag, stands a command with a completion of its own.
    local i word sub=''
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == -- ]]; then
            _agentjail_command $((i + 1))
            return
        elif [[ $valued == *" $word "* ]]; then
            ((i++))
            [[ ${COMP_WORDS[i]} == '=' ]] && ((i++))
        elif [[ $word != -* && -z $sub ]]; then
            sub=$word
        elif [[ $word != -* && ( $sub == run || $sub == plan ) ]]; then
            _agentjail_command "$i"
            return
        fi
    done

    # COMP_WORDBREAKS holds "=": a flag, "=" and its value arrive as three words.
    if [[ $cur == '=' ]]; then
        cur=''
    elif [[ $prev == '=' ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    case $sub in
    '' | run | plan)
        case $prev in
        --profile | -p)
            mapfile -t COMPREPLY < <(compgen -W "$(agentjail profiles list 2>/dev/null | cut -d ' ' -f 1)" -- "$cur"; compgen -f -- "$cur")
            return ;;
        --project) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
        --ro | --rw | --protect | --unprotect | --hide | --report) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
        --home) mapfile -t COMPREPLY < <(compgen -W 'ephemeral persistent' -- "$cur"); return ;;
        --net) mapfile -t COMPREPLY < <(compgen -W 'door none' -- "$cur"); return ;;
        --tty) mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$cur"); return ;;
        --env) mapfile -t COMPREPLY < <(compgen -e -- "$cur"); return ;;
        --limit) mapfile -t COMPREPLY < <(compgen -S = -W 'memory pids cpus files wall' -- "$cur"); compopt -o nospace; return ;;
        --allow-degraded) mapfile -t COMPREPLY < <(compgen -W 'limits' -- "$cur"); return ;;
        --allow | --deny | --name | --secret) return ;;
        esac ;;
    esac
    case $sub in
    '') mapfile -t COMPREPLY < <(compgen -W "$commands $flags --" -- "$cur") ;;
    run) mapfile -t COMPREPLY < <(if [[ $cur == -* ]]; then compgen -W "$flags --" -- "$cur"; else compgen -c -- "$cur"; fi) ;;
    plan) mapfile -t COMPREPLY < <(if [[ $cur == -* ]]; then compgen -W "$flags --json --" -- "$cur"; else compgen -c -- "$cur"; fi) ;;
    profiles)
        case $prev in
        show) mapfile -t COMPREPLY < <(compgen -W "$(agentjail profiles list 2>/dev/null | cut -d ' ' -f 1) --json" -- "$cur") ;;
        check) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        *) mapfile -t COMPREPLY < <(compgen -W 'list show check --json --help' -- "$cur") ;;
        esac ;;
    trust | untrust) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    selftest)
        case $prev in
        --profile | -p)
            mapfile -t COMPREPLY < <(compgen -W "$(agentjail profiles list 2>/dev/null | cut -d ' ' -f 1)" -- "$cur"; compgen -f -- "$cur") ;;
        --format) mapfile -t COMPREPLY < <(compgen -W 'junit sarif' -- "$cur") ;;
        *) mapfile -t COMPREPLY < <(compgen -W '--profile -p --format --json --help' -- "$cur") ;;
        esac ;;
    doctor | version) mapfile -t COMPREPLY < <(compgen -W '--json --help' -- "$cur") ;;
    log | report | revoke)
        local dir=${XDG_STATE_HOME:-$HOME/.local/state}/agentjail/sessions ids=''
        [[ -d $dir ]] && ids=$(ls "$dir")
        [[ $sub == log ]] && ids+=' --follow -f'
        [[ $sub != revoke ]] && ids+=' --json'
        mapfile -t COMPREPLY < <(compgen -W "$ids --help" -- "$cur") ;;
    completion) mapfile -t COMPREPLY < <(compgen -W 'bash zsh fish --help' -- "$cur") ;;
    esac
}

# _agentjail_command completes the command that begins at word $1.
_agentjail_command() {
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$1"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif ((COMP_CWORD == $1)); then
        mapfile -t COMPREPLY < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
    fi
}

complete -F _agentjail agentjail
