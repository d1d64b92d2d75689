# shellcheck shell=bash
# Kills arkwright at every record of a release's journal, and between them, under load. Sourced by torture.

# What is tortured: side by side and held, there and back, and with an image that never becomes healthy.
TORTURED=(side back broken held held-back held-broken)
declare -A TORTURED_SERVICE=([side]=web [back]=web [broken]=web [held]=archive [held-back]=archive [held-broken]=archive)
declare -A TORTURED_END=([side]=deployed [back]=rolled_back [broken]=aborted
    [held]=deployed [held-back]=rolled_back [held-broken]=aborted)
# A load runs this many seconds; the generator has an upper limit of ten minutes.
LOAD_SECONDS=300
# An operation is killed this often on its way, and taken further each time: a point then costs its share of one.
KILLS_A_RUN=6
# After so long without an end something is wrong, and more of the same would only take time.
MOST_BROKEN=20
# The disk is filled in the middle of so many deploys.
FILLS=8

# order KIND: the command's words, one a line.
order() {
    local service="${TORTURED_SERVICE[$1]}"
    case "$1" in
    side | held) printf '%s\n' deploy "$service=$RELEASE_IMAGE:$(other_version "$service")" --yes ;;
    broken | held-broken) printf '%s\n' deploy "$service=$RELEASE_IMAGE:broken" --yes ;;
    back | held-back) printf '%s\n' rollback "$service" --yes --reason torture ;;
    esac
}

# killed KIND --record N | --after MS: gives the order and kills it there; the report is in $REPORT.
killed() {
    local kind="$1"
    local -a words
    shift
    mapfile -t words < <(order "$kind")
    kill_at --journal "$RELEASE_STATE/journal" "$@" -- "${words[@]}"
}
# killed_again JOURNAL --record N | --after MS: the same while it is taken further.
killed_again() {
    local journal="$1"
    shift
    kill_at --journal "$journal" "$@" -- resume
}
kill_at() {
    local -a own=()
    while [[ "$1" != -- ]]; do
        own+=("$1")
        shift
    done
    shift
    REPORT="$("$KILL_AT" "${own[@]}" -- "$ARKWRIGHT" --host "$RELEASE_HOST" -f "$RELEASE_FOLDER/compose.yaml" "$@" 2>"$RELEASE_FOLDER/killed.log")" ||
        die "kill-at: $(tail -n 1 "$RELEASE_FOLDER/killed.log")"
}
report() { jq -r "$1" <<<"$REPORT"; }

# ready KIND: a rollback is one to a warm colour, so there has to be one.
ready() {
    [[ "$1" == *back ]] || return 0
    local service="${TORTURED_SERVICE[$1]}"
    (($(colours "$service" | wc -l) == 2)) || ark_ deploy "$service=$RELEASE_IMAGE:$(other_version "$service")" --yes \
        >"$RELEASE_FOLDER/ready.log" 2>&1 || broke "a deploy without a kill fails: $(tail -n 2 "$RELEASE_FOLDER/ready.log")"
}

# looked: what runs, for everything that asks until the next look; an engine can be slow to tell.
looked() { PS="$(ark_ --json ps)"; }

# colours SERVICE: `blue running 1.0.0` of every container it had at the last look.
colours() {
    jq -r --arg service "$1" '.[] | select(.service == $service) |
        "\(.colour) \(.state) \(.image | sub(".*:"; ""))"' <<<"$PS"
}

# torture_load: requests to both services that are never sent twice; torture_unload ends it and counts.
torture_load() {
    LOADS=$((LOADS + 1))
    LOADED=$EPOCHSECONDS
    rm -f "$RELEASE_FOLDER/load.stop"
    : >"$RELEASE_FOLDER/losses.web"
    : >"$RELEASE_FOLDER/losses.archive"
    LOSSES_TOLD=0
    "$LOAD" --url "$(url web "/api/files?limit=1")" --connections 16 --rate 200 --json \
        --stop-file "$RELEASE_FOLDER/load.stop" --losses "$RELEASE_FOLDER/losses.web" >"$RELEASE_FOLDER/load.web" &
    LOAD_PIDS=("$!")
    # No upload is like another, and every one that was accepted has to be there in the end.
    "$LOAD" --url "$(url archive /api/photos/upload)" --connections 8 --rate 20 --json --post --numbered \
        --body "photo $RELEASE_ENGINE $LOADS " --header "Authorization: Bearer $RELEASE_TOKEN" --timeout 60s \
        --stop-file "$RELEASE_FOLDER/load.stop" --losses "$RELEASE_FOLDER/losses.archive" >"$RELEASE_FOLDER/load.archive" &
    LOAD_PIDS+=("$!")
}
torture_unload() {
    local pid service wait found
    touch "$RELEASE_FOLDER/load.stop"
    for pid in "${LOAD_PIDS[@]}"; do wait "$pid" || true; done
    LOAD_PIDS=()
    for service in web archive; do
        REQUESTS=$((REQUESTS + $(jq .requests "$RELEASE_FOLDER/load.$service")))
        LOST=$((LOST + $(jq .lost "$RELEASE_FOLDER/load.$service")))
        REFUSED=$((REFUSED + $(jq '[.lost_by_reason | to_entries[] | select(.key | test(" from 1[.0-9]*$")).value] | add // 0' \
            "$RELEASE_FOLDER/load.$service")))
    done
    # What a container answered itself is no word of the router's; it is shown with its version all the same.
    cat "$RELEASE_FOLDER/losses.web" "$RELEASE_FOLDER/losses.archive" | grep ' from 1[.0-9]*$' | cut -d ' ' -f 3- | sort | uniq -c |
        while read -r found; do warn "$RELEASE_ENGINE: answered by the back end itself: $found"; done || true
    UPLOADED=$((UPLOADED + $(jq '.by_status["201"] // 0' "$RELEASE_FOLDER/load.archive")))
    wait="$(jq .latency_ms.max "$RELEASE_FOLDER/load.archive")"
    LONGEST="$(awk -v a="$LONGEST" -v b="$wait" 'BEGIN { print (a > b ? a : b) }')"
}

# broke WHAT: a promise is missed at this point.
broke() {
    BROKEN=$((BROKEN + 1))
    warn "$RELEASE_ENGINE, $POINT: $*"
}

# losses: those of this load, by reason, with when they were sent. One that waited at a gate is lost long after.
losses() {
    cat "$RELEASE_FOLDER/losses.web" "$RELEASE_FOLDER/losses.archive" | grep -v ' from 1[.0-9]*$' |
        awk '{ why = substr($0, length($1 $2) + 3); n[why]++; if (!at[why]) at[why] = $1; if ($2 - $1 > most[why]) most[why] = $2 - $1 }
            END { for (why in n) printf "%d × %s, the first sent at %s, after up to %.1f s; ", n[why], why, strftime("%T", at[why] / 1e6), most[why] / 1e6 }'
}

# recovered WAY: what a killed operation left is taken to its end: by `resume`, or by an agent that starts.
recovered() {
    case "$1" in
    resume) ;;
    agent)
        "$ARKWRIGHT" --host "$RELEASE_HOST" -f "$RELEASE_FOLDER/compose.yaml" agent >"$RELEASE_FOLDER/agent.log" 2>&1 &
        local agent="$!" waited=0
        until [[ -S "$RELEASE_FOLDER/agent.sock" && "$(open_operations)" == 0 ]]; do
            ((waited < 600)) || break
            sleep 0.1
            waited=$((waited + 1))
        done
        if kill -TERM "$agent" 2>/dev/null; then
            wait "$agent" || true
            return 0
        fi
        broke "the agent ended: $(tail -n 2 "$RELEASE_FOLDER/agent.log")"
        ;;
    esac
    # A release that was taken back is no success of `resume` either; how it ended is looked up.
    ark_ resume >"$RELEASE_FOLDER/resume.log" 2>&1 || true
}

open_operations() {
    ark_ --json history --last 50 | jq '[.[] | select(.outcome | IN("running", "interrupted", "stuck"))] | length'
}

# sound KIND: what has to be true after every recovery.
sound() {
    local kind="$1" service="${TORTURED_SERVICE[$1]}" one history last version weights serving found count names
    history="$(ark_ --json history --last 50)" || broke "history cannot be read"
    looked || broke "ps does not answer"
    found="$(jq -r '[.[] | select(.outcome | IN("running", "interrupted", "stuck")) | "\(.operation) \(.outcome)"] | join(", ")' <<<"$history")"
    [[ -z "$found" ]] || broke "without an end: $found; resume said: $(tail -n 3 "$RELEASE_FOLDER/resume.log")"
    if (($(report .records) > 0)); then
        last="$(jq -r '[.[] | select(.kind == "release")] | last | .outcome' <<<"$history")"
        case "$last ${TORTURED_END[$kind]}" in
        "deployed deployed" | "rolled_back rolled_back" | "aborted aborted") ;;
        aborted\ * | "rolled_back deployed")
            UNWOUND=$((UNWOUND + 1))
            say "$RELEASE_ENGINE, $POINT: taken back: $(jq -r '[.[] | select(.kind == "release")] | last | .because' <<<"$history" | head -n 1)"
            ;;
        *) broke "ended as $last, not as ${TORTURED_END[$kind]}" ;;
        esac
    fi
    for service in web archive; do
        weights="$(weights "$service")"
        case "$weights" in
        "blue=100 green=0") serving=blue ;;
        "blue=0 green=100") serving=green ;;
        *)
            broke "$service: the router's weights are $weights"
            continue
            ;;
        esac
        one="$(awk -v of="backend $service\$" '/^backend/ { in_it = $0 ~ of } in_it && $1 == "server" { sub(/1$/, "", $2); printf "%s%s=%s", sep, $2, $5; sep = " " }' \
            "$RELEASE_STATE/router/config/haproxy.cfg")"
        [[ "$one" == "$weights" ]] || broke "$service: the router runs $weights, its configuration says $one"
        version="$(jq -r --arg service "$service" '[.[] | select(.kind == "release" and .ok and .detail.service == $service)] | last |
            .detail.image // "'"${SERVES[$service]}"'" | sub(".*:"; "")' <<<"$history")"
        SERVES[$service]="$version"
        found="$(answering_version "$service")"
        [[ "$found" == "$version" ]] || broke "$service: $found answers, the history says $version"
        found="$(colours "$service")"
        grep -qx "$serving running $version" <<<"$found" || broke "$service: $serving, which serves, is not there as $version: $found"
        count="$(wc -l <<<"$found")"
        ((count <= 2)) || broke "$service has $count containers: $found"
        ! grep -q ' broken$' <<<"$found" || broke "$service: a broken container is left: $found"
        found="$(router_says admin "arkwright gate show $service" | head -n 1)"
        [[ "$found" == "open 0 "* ]] || broke "$service: the gate is $found"
        [[ ! -e "$RELEASE_STATE/scratch/release-$service" ]] || broke "$service: the copy of the data is left"
    done
    names="$(engine "$RELEASE_ENGINE" ps -a --format '{{.Names}}' | grep -c "^$RELEASE_PROJECT" || true)"
    count="$(jq length <<<"$PS")"
    ((names == count)) || broke "the engine has $names containers of ours, ps lists $count"
    # What a container answered itself, with its version, is counted apart: it says which of them has to be looked at.
    found="$(cat "$RELEASE_FOLDER/losses.web" "$RELEASE_FOLDER/losses.archive" | grep -vc ' from 1[.0-9]*$' || true)"
    if ((found > LOSSES_TOLD)); then
        broke "$((found - LOSSES_TOLD)) requests were lost: $(losses)"
        LOSSES_TOLD="$found"
    fi
}

# tortured KIND HOW VALUE...: one operation, killed at each of these and taken further in between, and at last to its end.
tortured() {
    local kind="$1" how="$2" journal='' kills='' value way=resume
    shift 2
    RUNS=$((RUNS + 1))
    ((EPOCHSECONDS - LOADED < LOAD_SECONDS)) || { torture_unload && torture_load; }
    POINT="$kind $how $*"
    ready "$kind"
    for value in "$@"; do
        POINTS=$((POINTS + 1))
        if [[ -z "$journal" ]]; then
            killed "$kind" "--$how" "$value"
        else
            killed_again "$journal" "--$how" "$value"
        fi
        # One that was killed before it had a journal is ordered again.
        journal="$(report '.journal // empty')"
        printf '%(%T)T\t%s\t%s\t%s\n' -1 "$kind" "$(report .records)" "$(report .last)" >>"$RELEASE_FOLDER/points"
        if [[ "$(report .killed)" != true ]]; then
            FASTER=$((FASTER + 1))
            break
        fi
        KILLS=$((KILLS + 1))
        kills+=" $(report .records) ($(report .last)),"
        if ((POINTS % 5 == 0)); then
            router_says master reload >/dev/null
            RELOADS=$((RELOADS + 1))
            kills+=" the router reloaded,"
        fi
    done
    ((RUNS % 4 != 2)) || way=agent
    POINT="$kind killed at${kills:- no record,} then $way"
    recovered "$way"
    sound "$kind"
    ((BROKEN < MOST_BROKEN)) || die "$BROKEN promises were missed on $RELEASE_ENGINE: giving up"
    ((RUNS % 10 != 0)) || say "$RELEASE_ENGINE: $POINTS points, $KILLS kills in $RUNS operations, $BROKEN promises missed"
}

# steps_of JOURNAL: `began create` of every record but the last, with which it is over.
steps_of() {
    tail -n +2 "$1" | head -n -1 | cut -d ' ' -f 2- | jq -r '.event + (if .step.step? then " " + .step.step else "" end)'
}

# unkilled: `KIND record N` of every kind of record that nobody was killed at.
unkilled() {
    awk -F '\t' 'NR == FNR { hit[$2, $4] = 1; next } !(($1, $3) in hit) && !seen[$1, $3]++ { print $1, "record", $2 }' \
        "$RELEASE_FOLDER/points" "$RELEASE_FOLDER/steps"
}

# torture_plan POINTS: `KIND record N...` lines, which hit every record once, evenly over some operations; what is left of
# POINTS are moments: `KIND after MS...`. Where there are fewer points than records, chance chooses among the operations.
torture_plan() {
    local wanted="$1" kind records took number runs run
    : >"$RELEASE_FOLDER/points"
    : >"$RELEASE_FOLDER/steps"
    : >"$RELEASE_FOLDER/plan"
    : >"$RELEASE_FOLDER/moments"
    RECORDS=0
    for kind in "${TORTURED[@]}"; do
        POINT="$kind, not killed"
        ready "$kind"
        killed "$kind" --record 1000000
        records="$(report .records)" took="$(report .milliseconds)"
        say "$RELEASE_ENGINE: $kind has $records records and takes ${took%.*} ms"
        ((records > 0)) || die "$kind has no journal: $(tail -n 3 "$RELEASE_FOLDER/killed.log")"
        steps_of "$(report .journal)" | awk -v kind="$kind" '{ print kind "\t" NR "\t" $0 }' >>"$RELEASE_FOLDER/steps"
        sound "$kind"
        RECORDS=$((RECORDS + records - 1))
        runs=$(((records - 1 + KILLS_A_RUN - 1) / KILLS_A_RUN))
        for ((run = 1; run <= runs; run++)); do
            printf '%s record' "$kind"
            for ((number = run; number < records; number += runs)); do printf ' %s' "$number"; done
            printf '\n'
        done >>"$RELEASE_FOLDER/plan"
        # Each moment is one after what has gone before: of an operation, or of what takes it further.
        for ((run = 0; run * KILLS_A_RUN < wanted; run++)); do
            printf '%s after' "$kind"
            for ((number = 0; number < KILLS_A_RUN; number++)); do printf ' %s' $((RANDOM % (${took%.*} / 2 + 1))); done
            printf '\n'
        done >>"$RELEASE_FOLDER/moments"
    done
    if ((RECORDS > wanted)); then
        # Some operations, each with all its points.
        shuf "$RELEASE_FOLDER/plan" | awk -v left="$wanted" 'left > 0 { if (NF - 2 > left) NF = left + 2; left -= NF - 2; print }' \
            >"$RELEASE_FOLDER/fewer"
        mv "$RELEASE_FOLDER/fewer" "$RELEASE_FOLDER/plan"
    fi
}

# tortured_all POINTS: every record first, then those that were missed, then moments.
tortured_all() {
    local again
    local -a words
    while read -r -a words <&3; do tortured "${words[@]}"; done 3<"$RELEASE_FOLDER/plan"
    if ((RECORDS <= $1)); then
        # A record that follows another at once is there before the signal is: tried twice more.
        for again in 1 2; do
            unkilled >"$RELEASE_FOLDER/missed.$again"
            while read -r -a words <&3; do tortured "${words[@]}"; done 3<"$RELEASE_FOLDER/missed.$again"
        done
    fi
    while ((POINTS < $1)) && read -r -a words <&3; do tortured "${words[@]}"; done 3< <(shuf "$RELEASE_FOLDER/moments")
}

# restarted WHAT NUMBER: arkwright is killed in the middle of a deploy, the router or the whole engine is started again,
# and the deploy goes on. No request is lost before and none after; how long nobody answered is measured.
restarted() {
    local what="$1" began service kind=side
    (($2 % 2)) || kind=held
    POINT="$kind, the $what restarted"
    torture_load
    sleep 0.5
    # Who waits at a gate that nobody opens waits for long: the load ends before it closes.
    [[ "$kind" == side ]] || torture_unload
    killed "$kind" --record $((10 + RANDOM % 10))
    [[ "$kind" == held ]] || torture_unload
    began=$EPOCHREALTIME
    case "$what" in
    router) engine "$RELEASE_ENGINE" restart --time 1 "$RELEASE_PROJECT-arkwright-router-1" >/dev/null ;;
    engine)
        engine_again
        # Containers may have come back under other addresses: whoever goes on tells the router.
        recovered resume
        ;;
    esac
    for service in web archive; do
        until release_address 2>/dev/null && [[ -n "$(answering_version "$service")" ]]; do
            if awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { exit !(b - a > 60) }'; then
                broke "$service does not answer after 60 s"
                break
            fi
            sleep 0.02
        done
        # Behind a gate that was closed nobody answers before the deploy has gone on.
        [[ "$what $kind" != "router held" ]] || break
    done
    awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f\n", (b - a) * 1000 }' >>"$MEASURES/$what-$RELEASE_ENGINE"
    torture_load
    recovered resume
    sleep 0.5
    sound "$kind"
    torture_unload
}

# engine_again: only an engine that these scripts started, and that nobody else has containers on.
engine_again() {
    local name
    case "$RELEASE_ENGINE" in
    docker) name=dockerd ;;
    podman) name=podman ;;
    esac
    remembered_pid "$name" >/dev/null || die "$RELEASE_ENGINE was not started here, so it is not started again: end it, then run this"
    if [[ "$RELEASE_ENGINE" == docker ]] && docker_ ps --format '{{.Names}}' | grep -qv "^$RELEASE_PROJECT-"; then
        die "containers of somebody else run on this engine: it is not started again"
    fi
    stop_remembered "$name" 60
    "ensure_$RELEASE_ENGINE" 8>&-
}

# filled NUMBER: from some moment of a deploy on nothing more fits on the disk with the state. It says so, everybody is
# answered all the same, and with room again it goes on.
filled() {
    local kind=side service deploying code=0 way=resume
    local -a words
    (($1 % 2)) || kind=held
    service="${TORTURED_SERVICE[$kind]}"
    POINT="$kind, the disk full"
    mapfile -t words < <(order "$kind")
    torture_load
    ark_ --json "${words[@]}" >"$RELEASE_FOLDER/filled.out" 2>"$RELEASE_FOLDER/filled.err" &
    deploying=$!
    sleep "$((RANDOM % 2)).$((RANDOM % 10))"
    head -c 1G /dev/zero >"$RELEASE_FOLDER/state/filler" 2>/dev/null || true
    wait "$deploying" || code=$?
    case "$code" in
    0) ;;
    1 | 5)
        FILLED=$((FILLED + 1))
        cat "$RELEASE_FOLDER/filled.out" "$RELEASE_FOLDER/filled.err" | grep -q "No space left on device" ||
            broke "the full disk is not named: $(tail -n 1 "$RELEASE_FOLDER/filled.err")"
        ;;
    *) broke "the deploy ends with $code: $(tail -n 1 "$RELEASE_FOLDER/filled.err")" ;;
    esac
    [[ "$kind" == held || -n "$(answering_version "$service")" ]] || broke "nobody answers while the disk is full"
    rm "$RELEASE_FOLDER/state/filler"
    (($1 % 4 < 2)) || way=agent
    POINT="$kind, the disk full, then $way"
    recovered "$way"
    REPORT='{"records":1}'
    sound "$kind"
    torture_unload
}

torture_stop() {
    local pid
    touch "$RELEASE_FOLDER/load.stop" 2>/dev/null || true
    for pid in "${LOAD_PIDS[@]}"; do wait "$pid" || true; done
    release_down >/dev/null 2>&1 || warn "what the torture made is not all removed"
}

# torture_engine ENGINE POINTS
torture_engine() {
    local number total files ended kinds never began=$EPOCHSECONDS
    POINTS=0 RUNS=0 KILLS=0 FASTER=0 RELOADS=0 BROKEN=0 UNWOUND=0 FILLED=0 LOADS=0 REQUESTS=0 LOST=0 UPLOADED=0 REFUSED=0 LONGEST=0 LOAD_PIDS=() POINT=start
    declare -gA SERVES=([web]=1.0.0 [archive]=1.0.0)
    say "$1: a stack to torture"
    ((EUID != 0)) || RELEASE_DISK=128M
    release_stack "$1" torture "[{ weight: 25, hold: 200ms }]"
    looked
    torture_load
    torture_plan "$2"
    tortured_all "$2"
    torture_unload
    say "$1: the router is started again in the middle of deploys"
    for number in 1 2 3 4; do restarted router "$number"; done
    if ((EUID == 0)); then
        say "$1: the disk fills in the middle of deploys"
        for ((number = 1; number <= FILLS; number++)); do filled "$number"; done
    fi
    for ((number = 1; number <= ENGINE_RESTARTS; number++)); do
        say "$1: the engine is started again in the middle of a deploy"
        restarted engine "$number"
    done

    # The whole history, once: every operation that was ever begun has an end.
    POINT="afterwards"
    # What begins with a dot was never whole, and never an operation.
    files="$(find "$RELEASE_STATE/journal" -type f -name '[0-9]*' | wc -l)"
    ended="$(ark_ --json history --last 1000000 | jq '[.[] | select(.outcome | IN("running", "interrupted", "stuck") | not)] | length')"
    [[ "$files" == "$ended" ]] || broke "$files operations were begun, $ended have an end"
    for number in 1 2 3; do timed "history-$1" ark_ history --last 1; done
    total="$(curl -fsS --max-time 20 "$(url archive "/api/files?limit=1")" | jq .total)"
    ((total >= UPLOADED)) || broke "$UPLOADED photos were accepted, $total are there"
    {
        printf '\n%s\n' "$1"
        figure "points" "$POINTS" "" ">=" "$2"
        figure "of them killed" "$KILLS" "" ">=" $(($2 * 9 / 10))
        figure "operations they were" "$RUNS" "" ">=" 1
        printf '%-26s %22s\n' "records there are" "$RECORDS"
        kinds="$(cut -f 1,3 "$RELEASE_FOLDER/steps" | sort -u | wc -l)" never="$(unkilled | wc -l)"
        printf '%-26s %22s\n' "kinds of records" "$kinds"
        if ((RECORDS <= $2)); then
            figure "  never killed at" "$never" "" "<=" $((kinds / 20))
        else
            printf '%-26s %22s\n' "  never killed at" "$never"
        fi
        printf '%-26s %22s\n' "took" "$((EPOCHSECONDS - began)) s"
        figure "router reloads between" "$RELOADS" "" ">=" $(($2 / 8))
        figure "requests" "$REQUESTS" "" ">=" 1
        figure "requests lost" "$LOST" "" == 0
        printf '%-26s %22s\n' "  by the back end itself" "$REFUSED"
        figure "photos accepted" "$UPLOADED" "" ">=" 1
        figure "photos missing" $((UPLOADED > total ? UPLOADED - total : 0)) "" == 0
        figure "operations begun" "$files" "" ">=" 1
        figure "operations without an end" $((files - ended)) "" == 0
        figure "promises missed" "$BROKEN" "" == 0
        printf '%-26s %22s\n' "taken back after a kill" "$UNWOUND"
        if ((EUID == 0)); then
            figure "deploys a full disk stopped" "$FILLED of $FILLS" "" ">=" 1
        else
            printf '%-26s %22s\n' "a full disk" "NOT RUN: needs root"
        fi
        printf '%-26s %22s\n' "history of all of them" "$(median "history-$1") ms"
        printf '%-26s %22s\n' "longest wait, held" "$LONGEST ms"
        printf '%-26s %22s\n' "router restart, unanswered" "$(median "router-$1") ms ($(spread "router-$1"))"
        ((ENGINE_RESTARTS == 0)) ||
            printf '%-26s %22s\n' "engine restart, unanswered" "$(median "engine-$1") ms ($(spread "engine-$1"))"
    } >>"$TABLE"
    torture_stop
}

torture_release() {
    local points=300 engines="docker podman" which
    ENGINE_RESTARTS=0
    while (($#)); do
        case "$1" in
        docker | podman) engines="$1" ;;
        --engine-restarts)
            ENGINE_RESTARTS="${2:-}"
            [[ "$ENGINE_RESTARTS" =~ ^[0-9]{1,2}$ ]] || die "--engine-restarts takes a number up to 99"
            shift
            ;;
        *) points="$1" ;;
        esac
        shift
    done
    [[ "$points" =~ ^[1-9][0-9]{0,3}$ ]] || die "POINTS is a number from 1 to 9999, ENGINE docker or podman; not $points"
    release_programs
    TABLE="$MEASURES/table"
    LOAD_PIDS=()
    RELEASE_FOLDER="$DEMO_STATE/torture-release/none"
    trap torture_stop EXIT
    for which in $engines; do
        torture_engine "$which" "$points"
    done
    trap - EXIT
    printf '\ntorture release: kill -9 under load, %s cores\n' "$(nproc)"
    cat "$TABLE"
    conclude
}
