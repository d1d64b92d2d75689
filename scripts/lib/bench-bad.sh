# shellcheck shell=bash
# Bad versions at 5 %, each failing in its own way: how soon they are taken back, how many requests met them, and that too
# few requests decide nothing. Sourced by bench-release.

JUDGED_IMAGE="localhost/hwayo/web"
# How each fails, after how many seconds that can be seen, and what the receipt has to name.
BAD_VERSIONS=(
    "errors  0 gate errors: error_rate .*over abort_over 5 %"
    "slow    2 gate latency: p95 .*over abort_over 1 s"
    "crash   6 (green is not healthy: .*again|gate latency: p95 .*over abort_over 1 s)"
    "leak   10 gate memory: memory .*over abort_over 80 %"
)
# What every gate has for `every` and `window`, in seconds; the hold and what follows it while nothing can be told.
BAD_EVERY=1 BAD_WINDOW=5 BAD_HOLD=20 BAD_UNDECIDED=25

# judged_up: one more service, `judged`, beside those of the stack: the router gets it while it runs.
judged_up() {
    local every="min_requests: 20, every: ${BAD_EVERY}s, window: ${BAD_WINDOW}s" line
    local -a lines=()
    for line in "${HWAYO_IMAGES[@]}"; do
        [[ "$line" != web:1.[01].0-* && "$line" != web:1.0.0* ]] || lines+=("$line")
    done
    _build_all "$RELEASE_ENGINE" hwayo "${lines[@]}"
    RELEASE_PORT[judged]=3000
    printf '  judged: { image: "%s:1.0.0", restart: always, stop_grace_period: 2s, mem_limit: 96m }\n' "$JUDGED_IMAGE" \
        >>"$RELEASE_FOLDER/compose.yaml"
    sed -i "s|^services:|&\n  judged:\n    release:\n      port: 3000\n      health: { http: /health, every: 500ms, healthy_after: 2, within: 15s }\n      steps: [{ weight: 5, hold: ${BAD_HOLD}s }]\n      gates: [errors, latency, memory]\n      inconclusive: { after: ${BAD_UNDECIDED}s, do: abort }|" "$RELEASE_FOLDER/arkwright.yaml"
    cat >>"$RELEASE_FOLDER/arkwright.yaml" <<GATES
gates:
  errors: { source: router, metric: error_rate, max: 1%, abort_over: 5%, $every }
  latency: { source: router, metric: p95, max: 500ms, abort_over: 1s, $every }
  memory: { source: engine, metric: memory, max: 70%, abort_over: 80%, ${every#*, } }
GATES
    ark_ up >"$RELEASE_FOLDER/up.log" 2>&1 || die "the judged service does not come up: $(tail -n 3 "$RELEASE_FOLDER/up.log")"
    release_address || die "the router that knows judged is not there"
    await_url "$(url judged /version)"
}

# turned: `held exposed back failed` of the newest journal, in microseconds since 1970: when the hold began, the first
# share was given, all of it was back, and the release was turned round.
turned() {
    local journal
    journal="$(find "$RELEASE_STATE/journal" -type f -printf '%f\n' | sort | tail -n 1)"
    tail -n +2 "$RELEASE_STATE/journal/$journal" | cut -d ' ' -f 2- | jq -rs '
        def at: .at | sub("\\.(?<f>[0-9]+)Z$"; ".\(.f)Z") | capture("^(?<s>[^.]+)\\.?(?<f>[0-9]*)Z$")
            | (.s + "Z" | fromdateiso8601) * 1000000 + ((.f + "000000")[:6] | tonumber);
        [ (map(select(.event == "began" and .step.step == "hold")) | first | at),
          (map(select(.event == "began" and .step.step == "shift" and .step.weight > 0)) | first | at),
          (map(select(.event == "finished" and .step.step == "shift")) | last | at),
          (map(select(.event == "failed")) | first | at) ] | join(" ")'
}

# bench_bad ENGINE
bench_bad() {
    local line kind after names because held exposed back failed asked met
    judged_up
    for line in "${BAD_VERSIONS[@]}"; do
        read -r kind after names <<<"$line"
        say "$1: a bad version at 5 %: $kind"
        rm -f "$RELEASE_FOLDER/load.stop"
        "$LOAD" --url "$(url judged /version)" --connections 32 --rate 320 --json --stop-file "$RELEASE_FOLDER/load.stop" \
            --answers "$MEASURES/bad.answers" --losses "$MEASURES/bad.losses" >"$MEASURES/bad.json" &
        LOAD_PID=$!
        sleep 1
        ! ark_ --json deploy "judged=$JUDGED_IMAGE:1.1.0-$kind" --yes >"$MEASURES/bad.receipt" 2>"$MEASURES/err" ||
            die "a version with $kind is deployed"
        clients_done bad
        because="$(jq -rs 'last | if .outcome == "rolled_back" then .because else "\(.outcome): \(.because)" end' "$MEASURES/bad.receipt")" ||
            die "$kind: no receipt: $(tail -n 2 "$MEASURES/err")"
        read -r held exposed back failed < <(turned)
        # An answer that is no success is in both.
        grep -v ' from 1' "$MEASURES/bad.losses" >"$MEASURES/bad.unanswered" || true
        asked="$(cat "$MEASURES/bad.answers" "$MEASURES/bad.unanswered" | awk -v a="$exposed" -v b="$back" '$1 >= a && $1 <= b { n++ } END { print n + 0 }')"
        # One that was lost was the new version's, as the old one loses none.
        met="$(awk '$4 ~ /^1\.1\.0/ { n++ } END { print n + 0 }' "$MEASURES/bad.answers")"
        met=$((met + $(wc -l <"$MEASURES/bad.unanswered")))
        {
            figure "bad version: $kind, after" "$(awk -v a="$held" -v b="$failed" 'BEGIN { printf "%.1f", (b - a) / 1e6 }')" s \
                "<=" $((after + BAD_EVERY + BAD_WINDOW))
            figure "  met it, of $asked" "$met" "" "<=" $((asked / 20 + 1))
            if [[ "$because" =~ $names ]]; then
                printf '  %s\n' "$because"
            else
                printf '  MISSED `%s` in: %s\n' "$names" "$because"
                MISSED=1
            fi
        } >>"$TABLE.bad"
    done
    bench_thin "$1"
}

# Three requests a minute, and a version that answers errors.
bench_thin() {
    local asking deploying seen=0 weights outcome because
    say "$1: the same with three requests a minute"
    while sleep 20; do curl -s --max-time 5 -o /dev/null "$(url judged /version)" || true; done &
    asking=$!
    ark_ --json deploy "judged=$JUDGED_IMAGE:1.1.0-errors" --yes >"$MEASURES/bad.receipt" 2>"$MEASURES/err" &
    deploying=$!
    # From the end of the hold on nothing can be told, and it stays as it is.
    until [[ "$(weights judged)" == *=5* ]]; do
        kill -0 "$deploying" 2>/dev/null || die "the thin canary ended: $(tail -n 2 "$MEASURES/err")"
        sleep 0.2
    done
    sleep $((BAD_HOLD + BAD_UNDECIDED / 2))
    weights="$(weights judged)"
    wait "$deploying" || true
    kill "$asking" 2>/dev/null || true
    wait "$asking" 2>/dev/null || true
    read -r outcome because < <(jq -rs 'last | "\(.outcome) \(.because)"' "$MEASURES/bad.receipt")
    [[ "$weights" != *=5* ]] || seen=1
    {
        figure "3 requests/min: held at 5 %" "$seen" "" "==" 1
        if [[ "$outcome" != deployed && "$because" == *"inconclusive for"* ]]; then
            printf '  %s: %s\n' "$outcome" "$because"
        else
            printf '  MISSED inconclusive: %s: %s\n' "$outcome" "$because"
            MISSED=1
        fi
    } >>"$TABLE.bad"
}
