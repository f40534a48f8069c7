"""Pictures of the main table's runs; `snakemake pictures` makes them all."""

PICTURED = ABLATIONS["main"]
PICTURES = str(needs.folder(TRACK))


wildcard_constraints:
    kind="|".join(dict.fromkeys([*NUMBERS, *DRAWINGS])),
    iteration="[0-9]+",


rule evaluate_snapshot:
    """Compute the COCO metrics of a detector as it was in the middle of its training."""
    input:
        config=f"{RESULTS}/runs/{{run}}/model.py",
        checkpoint=f"{RESULTS}/runs/{{run}}/model.pth",
        annotations=TRACK.annotations(TRACK.tuning_split),
    output:
        f"{RESULTS}/runs/{{run}}/steps/{{iteration}}.json",
    log:
        f"{RESULTS}/runs/{{run}}/steps/{{iteration}}.log",
    conda:
        "../envs/icd.yaml"
    threads: TRACK.machine.threads
    resources:
        gpu=min(GPUS, 1),
        mem_mb=TRACK.machine.memory,
    params:
        folder=lambda wildcards: RUNS[wildcards.run].folder,
        weights=lambda wildcards: snapshot_file(RUNS[wildcards.run], wildcards.iteration),
        split=TRACK.tuning_split,
        gpus=min(GPUS, 1),
    message:
        "Evaluate {wildcards.run} after {wildcards.iteration} iterations"
    shell:
        "exec python -m icd evaluate {params.folder:q} --weights {params.weights:q}"
        " --split {params.split:q} --output {output:q} --gpus {params.gpus}"
        " >> {log:q} 2> >(trap '' INT TERM; exec tee -a {log:q} >&2)"


rule measure:
    """Gather the raw numbers of a picture."""
    input:
        lambda wildcards: needs.measured(wildcards.kind, PICTURED, TRACK),
        annotations=TRACK.annotations(TEST),
    output:
        f"{PICTURES}/{{kind}}.csv",
    log:
        f"{RESULTS}/runs/logs/pictures-{{kind}}-measure.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
        ablation=PICTURED.name,
    message:
        "Measure the {wildcards.kind} of the pictures"
    shell:
        "python -m icd measure {wildcards.kind} {params.ablation} {params.track:q}"
        " --data {params.root:q} --output {output:q} 2>&1 | tee {log:q}"


rule picture:
    """Draw a picture."""
    input:
        lambda wildcards: needs.drawn(wildcards.kind, PICTURED),
        sources=lambda wildcards: needs.sources(wildcards.kind, TRACK),
        annotations=TRACK.annotations(TEST),
    output:
        figures=[
            report(
                f"{PICTURES}/{{kind}}.svg",
                caption="../report/caption.rst",
                category="Pictures",
                labels={"what": "{kind}"},
            ),
            f"{PICTURES}/{{kind}}.png",
        ],
    log:
        f"{RESULTS}/runs/logs/pictures-{{kind}}.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
        ablation=PICTURED.name,
        caption=lambda wildcards: CAPTIONS[wildcards.kind],
    message:
        "Draw the picture of {wildcards.kind}"
    shell:
        "python -m icd picture {wildcards.kind} {params.ablation} {params.track:q}"
        " --data {params.root:q} --sources {input.sources:q} --figures {output.figures:q} 2>&1"
        " | tee {log:q}"


rule pictures:
    input:
        expand(
            f"{PICTURES}/{{kind}}.{{suffix}}",
            kind=needs.drawings(PICTURED),  # less those of rows that the track cannot have
            suffix=["svg", "png"],
        ),
    message:
        "Complete the pictures"
