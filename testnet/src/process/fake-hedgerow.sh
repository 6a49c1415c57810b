#!/bin/bash
# Stands in for `hedgerow` in the harness's own tests: prints what the real one promises to print,
# or fails in the way a test asks for by a further argument of `run`.
data_dir=$2
command=$3
shift 3
case $command in
run)
    case " $* " in
    *" --fail "*) echo "no such interface" >&2; exit 7 ;;
    *" --mute "*) exec sleep 60 ;;
    *" --garble "*) echo "hello" ;;
    *) echo "{\"peer\":\"peer-of-$$\",\"listen\":[\"/ip4/127.0.0.1/tcp/$$\"],\"api\":\"unix:$data_dir/api.sock\"}" ;;
    esac
    echo "$*" >"$data_dir/arguments"
    case " $* " in
    *" --stubborn "*) trap '' TERM ;;
    *) trap 'echo left >"$data_dir/left"; exit 0' TERM ;;
    esac
    # Waits on a pipe that nobody writes to: no child that could be left behind.
    exec 3<> <(:)
    while true; do read -r -t 60 -u 3; done
    ;;
groups)
    echo '{"groups":[{"group":"news","role":"member","joined":true,"members":2},{"group":null,"role":"relay","joined":false,"members":0}]}'
    ;;
join)
    echo '{"group":"g","origin":"a","epoch":1,"seq":1,"published_at":5,"encoding":"utf8","payload":""}'
    echo '{"group":"g","origin":"a","epoch":1,"seq":2,"published_at":6,"encoding":"base64","payload":"/wA="}'
    [ "$1" = broken ] && { echo "overtaken" >&2; exit 1; }
    exit 0
    ;;
*)
    echo "unknown command $command" >&2
    exit 2
    ;;
esac
