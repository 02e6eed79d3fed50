# fish completion for agentjail(1)

# __agentjail_sub holds when the subcommand on the line is one of the arguments ("" for none yet) and no "--" stands there.
function __agentjail_sub
    set -l words (commandline -opc)
    contains -- -- $words; and return 1
    set -l sub ''
    for word in $words[2..-1]
        if contains -- $word run plan profiles doctor selftest trust untrust log report revoke completion version
            set sub $word
            break
        end
    end
    contains -- "$sub" $argv
end

# __agentjail_behind_dashes holds behind "--", where a command with a completion of its own stands.
function __agentjail_behind_dashes
    contains -- -- (commandline -opc)
end

# __agentjail_command completes that command.
function __agentjail_command
    set -l words (commandline -opc)
    set -l at (contains -i -- -- $words)
    set -l rest $words[(math $at + 1)..-1] (commandline -ct)
    complete -C (string join ' ' -- (string escape -- $rest[1..-2]) $rest[-1])
end

function __agentjail_profiles
    agentjail profiles list 2>/dev/null | string replace -r ' .*' ''
end

function __agentjail_sessions
    set -l state $XDG_STATE_HOME
    test -n "$state"; or set state ~/.local/state
    set -l dirs $state/agentjail/sessions/*
    string replace -r '.*/' '' -- $dirs
end

complete -c agentjail -f
complete -c agentjail -n __agentjail_behind_dashes -a '(__agentjail_command)'

complete -c agentjail -n "__agentjail_sub ''" -a run -d 'run a command in a jail'
complete -c agentjail -n "__agentjail_sub ''" -a plan -d 'show what run would do and why'
complete -c agentjail -n "__agentjail_sub ''" -a profiles -d 'list, show and check profiles'
complete -c agentjail -n "__agentjail_sub ''" -a doctor -d 'try each step of a launch on this machine'
complete -c agentjail -n "__agentjail_sub ''" -a selftest -d 'try to escape from throwaway jails on this machine'
complete -c agentjail -n "__agentjail_sub ''" -a trust -d "let a project's own profile widen the jail"
complete -c agentjail -n "__agentjail_sub ''" -a untrust -d 'forget a trusted project profile'
complete -c agentjail -n "__agentjail_sub ''" -a log -d 'show what a session did'
complete -c agentjail -n "__agentjail_sub ''" -a report -d 'show how a session ended'
complete -c agentjail -n "__agentjail_sub ''" -a revoke -d 'end the use of a secret in a running session'
complete -c agentjail -n "__agentjail_sub ''" -a completion -d 'print a completion script'
complete -c agentjail -n "__agentjail_sub ''" -a version -d 'tell which build this is'
complete -c agentjail -n "__agentjail_sub run plan" -a '(__fish_complete_subcommand)'

complete -c agentjail -n "__agentjail_sub '' run plan selftest" -l profile -s p -x -a '(__agentjail_profiles; __fish_complete_suffix .toml)' -d 'start from this profile'
complete -c agentjail -n "__agentjail_sub '' run plan" -l project -x -a '(__fish_complete_directories)' -d 'the directory to work in'
complete -c agentjail -n "__agentjail_sub '' run plan" -l ro -r -F -d 'show this path of the host, read-only'
complete -c agentjail -n "__agentjail_sub '' run plan" -l rw -r -F -d 'show this path of the host, writable'
complete -c agentjail -n "__agentjail_sub '' run plan" -l hide -r -F -d 'make files of the project unreadable'
complete -c agentjail -n "__agentjail_sub '' run plan" -l protect -r -F -d 'make a path of the project unwritable'
complete -c agentjail -n "__agentjail_sub '' run plan" -l unprotect -r -F -d 'lift a built-in protection of the project'
complete -c agentjail -n "__agentjail_sub '' run plan" -l home -x -a 'ephemeral persistent' -d 'the private home'
complete -c agentjail -n "__agentjail_sub '' run plan" -l env -x -a '(set -nx)' -d 'pass a variable, or set one'
complete -c agentjail -n "__agentjail_sub '' run plan" -l secret -x -d 'switch on a secret'
complete -c agentjail -n "__agentjail_sub '' run plan" -l allow -x -d 'allow a host'
complete -c agentjail -n "__agentjail_sub '' run plan" -l deny -x -d 'refuse a host'
complete -c agentjail -n "__agentjail_sub '' run plan" -l net -x -a 'door none' -d 'the network'
complete -c agentjail -n "__agentjail_sub '' run plan" -l limit -x -a 'memory= pids= cpus= files= wall=' -d 'bound a resource'
complete -c agentjail -n "__agentjail_sub '' run plan" -l tty -x -a 'auto always never' -d 'give the command a terminal'
complete -c agentjail -n "__agentjail_sub '' run plan" -l allow-degraded -x -a limits -d 'run even though this wall cannot stand here'
complete -c agentjail -n "__agentjail_sub '' run plan" -l name -x -d 'call the session NAME'
complete -c agentjail -n "__agentjail_sub '' run plan" -l report -r -F -d 'write what happened to a file'
complete -c agentjail -n "__agentjail_sub '' run plan" -l quiet -s q -d 'print errors alone'
complete -c agentjail -n "__agentjail_sub '' run plan" -l debug -d 'log each step to standard error'
complete -c agentjail -n "__agentjail_sub plan profiles doctor selftest log report version" -l json -d 'answer in JSON'
complete -c agentjail -n "__agentjail_sub selftest" -l format -x -a 'junit sarif' -d 'answer in another format'
complete -c agentjail -n "__agentjail_sub log" -l follow -s f -d 'wait for more'
complete -c agentjail -n "not __agentjail_behind_dashes" -l help -s h -d help
complete -c agentjail -n "__agentjail_sub profiles" -a 'list show check'
complete -c agentjail -n "__agentjail_sub profiles; and contains -- show (commandline -opc)" -a '(__agentjail_profiles)'
complete -c agentjail -n "__agentjail_sub profiles; and contains -- check (commandline -opc)" -F
complete -c agentjail -n "__agentjail_sub trust untrust" -x -a '(__fish_complete_directories)'
complete -c agentjail -n "__agentjail_sub log report revoke" -a '(__agentjail_sessions)'
complete -c agentjail -n "__agentjail_sub completion" -a 'bash zsh fish'
