#!/usr/bin/env bash
# Counts the instructions that each peer adds to a call. Callgrind counts two different numbers of calls; the difference
# excludes everything that happens once. Only the loop of calls is counted, not how a peer gets its token. Requires valgrind.
# The argument `keyed` selects the peers that have a token for each key.
set -euo pipefail
shopt -s inherit_errexit # a failed run ends the script
cd "$(dirname "$0")"
group=${1:-unkeyed}

peers=$(cargo build --quiet --release --bin peers --message-format=json |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)

counted() { # name, calls, and "bare" for the peer's bare call
  valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*counted_calls*' \
    "$peers" instructions "$group" "$@" 2>&1 | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
per_call() { # name, and "bare" for the peer's bare call
  local name=$1 more less
  shift
  more=$(counted "$name" 3000 "$@")
  less=$(counted "$name" 1000 "$@")
  echo $(((more - less) / 2000))
}

printf '%-38s %6s\n' "added to a bare call" "count"
"$peers" names "$group" | while read -r name; do
  with=$(per_call "$name")
  bare=$(per_call "$name" bare)
  printf '%-38s %6d\n' "$name" $((with - bare))
done
