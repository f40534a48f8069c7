"""The cost of a training step with each method; `snakemake cost` measures it."""


rule measure_cost:
    """Measure time and memory of training steps on random images, with no other job beside it."""
    input:
        ancient(str(costs.FILE)),
    output:
        lines=f"{COST}/cost.csv",
        about=f"{COST}/cost.json",
    log:
        f"{RESULTS}/runs/logs/cost-measure.log",
    conda:
        "../envs/icd.yaml"
    threads: workflow.resource_settings.cores or 1  # takes all cores, so no other job runs beside it
    resources:
        gpu=min(GPUS, 1),
        mem_mb=TRACK.machine.memory,
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
        environment="" if GPUS else KEEP_MEMORY,  # as in trainings
        gpus=min(GPUS, 1),
    message:
        "Measure the cost of training steps"
    shell:
        "env {params.environment} python -m icd cost {params.track:q} --data {params.root:q}"
        " --output {output.lines:q} --gpus {params.gpus} 2>&1 | tee {log:q}"


rule cost:
    """Render the table and the figure of the measured costs."""
    input:
        lines=f"{COST}/cost.csv",
        about=f"{COST}/cost.json",
    output:
        report(
            f"{COST}/table.html",
            caption="../report/caption.rst",
            category="Cost",
            labels={"what": "table"},
        ),
        report(
            f"{COST}/figure.svg",
            caption="../report/caption.rst",
            category="Cost",
            labels={"what": "figure"},
        ),
        multiext(f"{COST}/", "table.md", "figure.png"),
    log:
        f"{RESULTS}/runs/logs/cost-render.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
        caption=lambda wildcards: costs.load_plan(TRACK).content.question,
    message:
        "Render the costs of training steps"
    shell:
        "python -m icd cost_table {params.track:q} --data {params.root:q}"
        " --source {input.lines:q} --outputs {output:q} 2>&1 | tee {log:q}"
