#!/usr/bin/env bash
# Counts the instructions that each layer adds to a call. Callgrind counts two different numbers of calls; the difference
# excludes everything else that the process does. Requires valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."

bench=$(cargo bench --quiet --features keyed --bench instructions --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*instructions[^"]*\)".*/\1/p' | tail -1)

counted() { # case, calls
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" "$1" "$2" 2>&1 |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
counted_keyed() { # case, calls
  valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*run_keyed*' "$bench" "$1" "$2" 2>&1 |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
keyed_per_call() { # case
  echo $((($(counted_keyed "$1" 11000) - $(counted_keyed "$1" 1000)) / 10000))
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

# With a key in each request. The ratio is that to the layer for one identity, with the same requests.
bare=$(keyed_per_call "bare, keyed")
one=$(($(keyed_per_call "ours, one identity") - bare))
for case in "ours, one identity" "ours, last key" "ours, 1,000 keys" "ours, 100,000 keys"; do
  added=$(($(keyed_per_call "$case") - bare))
  printf '%-28s %6d %8s\n' "$case" "$added" "$(awk "BEGIN { printf \"%.2f\", $added / $one }")"
done
