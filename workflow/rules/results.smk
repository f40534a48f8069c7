"""Raw numbers, tables and figures of the ablations; `snakemake NAME` asks for one."""


localrules:
    collect,
    render,


rule collect:
    """Gather the raw numbers of an ablation."""
    input:
        lambda wildcards: [
            f"{run.folder}/metrics.json" for run in ABLATIONS[wildcards.ablation].runs
        ],
    output:
        f"{RESULTS}/{{ablation}}/results.csv",
    log:
        f"{RESULTS}/runs/logs/{{ablation}}-collect.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
    message:
        "Collect the numbers of {wildcards.ablation}"
    shell:
        "python -m icd collect {wildcards.ablation} {params.track:q} --data {params.root:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule render:
    """Render an ablation's table and figure."""
    input:
        results=f"{RESULTS}/{{ablation}}/results.csv",
        ablation=f"{FOLDER}/{{ablation}}.yaml",
    output:
        table=f"{RESULTS}/{{ablation}}/table.md",
        figures=multiext(f"{RESULTS}/{{ablation}}/figure", ".svg", ".png"),
    log:
        f"{RESULTS}/runs/logs/{{ablation}}-render.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
    message:
        "Render {wildcards.ablation}"
    shell:
        "python -m icd render {wildcards.ablation} {params.track:q} --data {params.root:q}"
        " --results {input.results:q} --table {output.table:q} --figures {output.figures:q} 2>&1"
        " | tee {log:q}"


for name, ablation in ABLATIONS.items():

    rule:
        name:
            name
        input:
            # Runs are asked for by name: committed tables must not hide that they were not run.
            [path for run in ablation.runs for path in run_files(run)],
            expand(
                f"{RESULTS}/{name}/{{file}}",
                file=["results.csv", "table.md", "figure.svg", "figure.png"],
            ),
        message:
            f"Complete {name}"
