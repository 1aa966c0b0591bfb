#!/usr/bin/env bash
# Counts the instructions that each layer adds to a call. Callgrind counts two different numbers of calls; the difference
# excludes everything else that the process does. Requires valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."

bench=$(cargo bench --quiet --bench instructions --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*instructions[^"]*\)".*/\1/p' | tail -1)

counted() { # case, calls
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" "$1" "$2" 2>&1 |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
per_call() { # case
  echo $((($(counted "$1" 11000) - $(counted "$1" 1000)) / 10000))
}

bare=$(per_call bare)
static=$(($(per_call add-authorization) - bare))
printf '%-28s %6s %9s\n' "added to a bare call" "count" "ratio"
for case in hand-written add-authorization ours "ours, no rejections" "ours, origins" "ours, three origins" "ours, replay" \
  "ours, expiry checked at use" "add-authorization, clones" "ours, clones"; do
  added=$(($(per_call "$case") - bare))
  printf '%-28s %6d %8s\n' "$case" "$added" "$(awk "BEGIN { printf \"%.2f\", $added / $static }")"
done
