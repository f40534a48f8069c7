"""The interactive page; `snakemake page` gathers what runs have left and writes it."""


wildcard_constraints:
    part="|".join(gathered.PARTS),


rule gather:
    """Gather a part of the interactive page."""
    input:
        lambda wildcards: gathered_from(wildcards.part),
        survey=SURVEY,
    output:  # update() keeps curves of detections that have not changed
        update(f"{WEB}/{{part}}.json"),
    log:
        f"{RESULTS}/runs/logs/gather-{{part}}.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
    message:
        "Gather {wildcards.part} for the page"
    shell:
        "python -m icd gather {wildcards.part} {params.track:q} --data {params.root:q} 2>&1"
        " | tee {log:q}"


# At the end of every call, onsuccess writes the page from what is there.
rule page:
    input:
        page_parts,
        lost(PAGES[1]),
    message:
        "Complete the interactive page"
