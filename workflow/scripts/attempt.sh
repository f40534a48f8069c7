#!/usr/bin/env bash
# Run a command with a log of its own: attempt.sh LOG COMMAND...
#
# Snakemake empties LOG, which belongs to a run, at each attempt, even if another process has the run
# and the attempt is refused. Therefore LOG only names the log of the attempt, which lies in the
# folder `logs` beside it, and repeats its last lines. Snakemake prints LOG if the command fails.
set -uo pipefail

# A function is read as a whole before it runs, so an edit of this file does not disturb a run.
attempt() {
    local log=$1 name status tee
    shift
    name=$(basename "$log" .log)-$(date +%Y%m%d-%H%M%S)-${SLURM_JOB_ID:+job}${SLURM_JOB_ID:-$$}.log
    ICD_LOG=$(dirname "$log")/logs/$name
    export ICD_LOG
    mkdir -p "$(dirname "$ICD_LOG")" && echo "log of this attempt: $ICD_LOG" >"$log" \
        || exit 2 # no room, or no permission

    # Ctrl-C and Slurm send signals to all processes of a job. This shell and tee stay until the
    # command has saved its state; the command itself receives the signals.
    trap : INT TERM
    exec 3> >(trap '' INT TERM && exec tee -a "$ICD_LOG" >&2)
    tee=$!
    "$@" >>"$ICD_LOG" 2>&3 3>&-
    status=$?
    exec 3>&-
    for _ in {1..50}; do # until tee has written the last lines; an orphan may hold it longer
        kill -0 "$tee" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$ICD_LOG" >>"$log"
    exit "$status"
}

attempt "$@"
