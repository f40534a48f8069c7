"""Rehearsals: every kind of run does a few iterations before anyone trains for days.

`snakemake rehearse` rehearses all kinds of the track, `snakemake rehearse_NAME` those of one table.
"""


localrules:
    rehearse,


# It ends with 3 if the rehearsal failed. The failure is the result, and the other jobs continue.
rule rehearse_kind:
    """Train a kind of run for a few iterations, stop, resume, evaluate and export it."""
    input:
        [] if RANDOM else [ancient(TRACK.annotations(split)) for split in ("train", "test")],
    output:  # update() keeps the results of other machines
        update(f"{REHEARSALS}/kinds/{{kind}}.json"),
    log:
        f"{REHEARSALS}/logs/{{kind}}.job.log",
    retries: 0
    conda:
        "../envs/icd.yaml"
    threads: TRACK.machine.threads
    resources:
        gpu=GPUS,
        nodes=1,
        mem_mb=TRACK.machine.memory,
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
        environment="" if GPUS else KEEP_MEMORY,  # as in trainings
        random="--random" if RANDOM else "",
    message:
        "Rehearse {wildcards.kind}"
    shell:
        "env {params.environment} python -m icd rehearse --track {params.track:q}"
        " --data {params.root:q} --kind {wildcards.kind:q} {params.random} 2>&1"
        " | tee {log:q} || [ $? -eq 3 ]"


rule rehearse:
    """Write the table of the rehearsals of all tables."""
    input:
        rehearsed(ABLATIONS),
    log:
        f"{RESULTS}/runs/logs/rehearse.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
    message:
        "Write the table of rehearsals"
    shell:
        "python -m icd rehearsal_table --track {params.track:q} --data {params.root:q} 2>&1"
        " | tee {log:q}"


for name in ABLATIONS:

    rule:
        name:
            f"rehearse_{name}"
        input:
            rehearsed([name]),
        log:
            f"{RESULTS}/runs/logs/rehearse-{name}.log",
        localrule: True
        conda:
            "../envs/icd.yaml"
        params:
            track=TRACK_NAME,
            root=TRACK.data_root,
            table=name,
        message:
            f"Write the table of the rehearsals of {name}"
        shell:
            "python -m icd rehearsal_table {params.table} --track {params.track:q}"
            " --data {params.root:q} 2>&1 | tee {log:q}"
