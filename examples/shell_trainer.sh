#!/bin/sh
# A trainer in shell and nc: it tells what this machine is, and prints what passes, a line each.
#
#   COORD_TOKEN_FILE=AI_shell.token sh examples/shell_trainer.sh AI_shell
#
# It joins by the gateway at COORD_URL, coord://127.0.0.1:6000. docs/protocol.md has all messages.
set -eu

ai=${1:-AI_shell}
url=${COORD_URL:-coord://127.0.0.1:6000}
case $url in
  coord://*:*) address=${url#coord://} ;;
  *) echo "COORD_URL: it must be coord://host:port; nc speaks no TLS" >&2; exit 2 ;;
esac
if [ -z "${COORD_TOKEN-}${COORD_TOKEN_FILE-}" ]; then
  echo "set COORD_TOKEN_FILE; 'coord enroll --out' writes it" >&2; exit 2
fi
token=${COORD_TOKEN:-$(cat "$COORD_TOKEN_FILE")}

n=0
say() { # type, payload
  n=$((n + 1))
  printf '{"message_id":"%s","sender_id":"%s","message_type":"%s","timestamp":"%s","payload":%s}\n' \
    "$n" "$ai" "$1" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$2"
}

talk() {
  # printf is the shell's own: no process ever has the token among its arguments, where ps shows it
  printf '{"ai_id":"%s","token":"%s"}\n' "$ai" \
    "$(printf %s "$token" | sed 's/[\\"]/\\&/g')"
  say hello '{"specialization":"general","version":"1.0"}'
  machine="{\"system\":\"$(uname -sm)\",\"processors\":$(getconf _NPROCESSORS_ONLN)}"
  say pattern_share "{\"pattern\":{\"id\":\"$ai.machine\",\"type\":\"machine\",\"data\":$machine}}"
}

talk | nc "${address%:*}" "${address##*:}"
