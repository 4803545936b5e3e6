#!/usr/bin/env bash
# `make up`: from a clone to a live answer. Stays in the foreground; Ctrl-C stops everything that it started.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

PROJECT=${PROJECT:-examples/remote-care} DATA=${DATA:-data} WEARERS=${WEARERS:-50}
KAFKA=${KAFKA:-127.0.0.1:9092} HTTP=${HTTP:-127.0.0.1:8888}
SERVER="http://$HTTP"

need_tools
# Pages that are there and newer than what they are made of are not made again: the binary would be, too.
is_built() {
  [ -f console/dist/index.html ] && [ -z "$(find console/src console/index.html console/package-lock.json \
    console/vite.config.ts -newer console/dist/index.html -print -quit)" ]
}
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  say "The console is left out: node and npm are not installed, and it needs Node 20.19 or newer; all else works."
elif ! is_built; then
  say "Building the console's pages (make console)"
  scripts/console.sh >/dev/null || say "The console could not be built, and is left out: \`make console\` says why."
fi
target=$(target_folder)
vitalake="$target/debug/vitalake"
if [ -x "$vitalake" ]; then
  say "1/4 Building (seconds, or minutes when much has changed)"
else
  say "1/4 Building for the first time: ten to fifteen minutes on two cores, a gigabyte or two in $target"
fi
cargo build --locked --bin vitalake

say "2/4 Checking the project $PROJECT"
"$vitalake" validate "$PROJECT"

say "3/4 Starting it on the data folder $DATA"
server= simulator=
stop() {
  trap - INT TERM EXIT
  say "" && say "Stopping: what was taken is committed first."
  [ -z "$simulator" ] || kill -TERM "$simulator" 2>/dev/null || true
  if [ -n "$server" ] && kill -TERM "$server" 2>/dev/null; then wait "$server" || true; fi
  exit "${1:-0}"
}
trap 'stop 0' INT TERM
trap 'stop $?' EXIT
"$vitalake" up "$PROJECT" --data "$DATA" --kafka "$KAFKA" --http "$HTTP" &
server=$!

ask() { "$vitalake" query --server "$SERVER" "$@"; }
count() { ask --format csv "SELECT COUNT(*) AS n FROM $1" 2>/dev/null | tail -1 || true; }
until_true() { # until_true SECONDS COMMAND…
  local end=$((SECONDS + $1)) && shift
  until "$@" >/dev/null 2>&1; do
    kill -0 "$server" 2>/dev/null || { server=; fail "vitalake up ended; its last words are above"; }
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}
until_true 60 "$vitalake" status --server "$SERVER" || fail "it was not ready within a minute" "$vitalake status --server $SERVER"

say "4/4 Loading the clinic's files, then a day of history and live events of $WEARERS wearers"
# The files come first, so that every reading finds who wore the device.
for dataset in patients device_assignments; do
  "$vitalake" ingest "$dataset" "$PROJECT/deliveries/$dataset.csv" --server "$SERVER"
done
history=24
[ "$(count raw.wearable_readings)" = 0 ] || history=0
"$vitalake" simulate --kafka "$KAFKA" --wearers "$WEARERS" --history "$history" --json >/dev/null &
simulator=$!

# The day of history comes first, so that the present hour says that all of it is there.
now=$(date -u '+%Y-%m-%d %H:00:00')
present() { [ "$(count "serving.vitals_hourly_live WHERE hour >= TIMESTAMP '$now'")" -gt 0 ]; }
until_true 60 present || fail "no reading reached serving.vitals_hourly_live within a minute" \
  "$vitalake status --server $SERVER"

question="SELECT hour, COUNT(*) AS patients, SUM(readings) AS readings, ROUND(AVG(heart_rate_avg), 1) AS heart_rate, SUM(steps) AS steps
FROM serving.vitals_hourly_live GROUP BY hour ORDER BY hour DESC LIMIT 6"
command=$vitalake
case $target in "$PWD"/*) command=${vitalake#"$PWD"/} ;; esac
command="$command query"
[ "$HTTP" = 127.0.0.1:8888 ] || command="$command --server $SERVER"
say "
It runs.
  console  $SERVER/
  Kafka    $KAFKA
  SQL      $SERVER/druid/v2/sql
  health   $SERVER/health/ready     metrics  $SERVER/metrics
  tables   $DATA/lake (Delta)

A first question, to paste into a second terminal:

$command \"$question\"

Its answer now:
"
ask "$question"
say "
It goes on until Ctrl-C. Next: README.md, \"The first five minutes\"."
wait "$server" && server= || { status=$?; server=; exit "$status"; }
