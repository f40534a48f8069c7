"""The data: made where the track is synthetic, checked in any case."""

SPLITS = list(TRACK.splits)
ANNOTATIONS = [str(TRACK.annotations(split)) for split in SPLITS]

if TRACK.synthetic:

    rule data:
        """Make the images and annotations of a split."""
        output:
            f"{TRACK.data_root}/{{split}}-{{size}}.json",
            directory(f"{TRACK.data_root}/{{split}}-{{size}}"),
        log:
            f"{RESULTS}/runs/logs/data-{{split}}-{{size}}.log",
        wildcard_constraints:
            size="[0-9]+",
        conda:
            "../envs/icd.yaml"
        threads: 4  # or as many as there are; a job on a cluster has to count as it was submitted
        params:
            track=TRACK_NAME,
            root=TRACK.data_root,
        message:
            f"Make the split {{wildcards.split}} of {TRACK.name}"
        shell:
            "python -m icd data {params.track:q} --data {params.root:q} --split {wildcards.split:q}"
            " --workers {threads} 2>&1"
            " | tee {log:q}"


rule check:
    """Check annotations and images, count what is there, compute priors, draw samples."""
    input:
        ANNOTATIONS,
    output:
        survey=SURVEY,
        samples=SAMPLES,
    log:
        f"{RESULTS}/runs/logs/check.log",
    conda:
        "../envs/icd.yaml"
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
    message:
        f"Check the data of {TRACK.name}"
    shell:
        "python -m icd check {params.track:q} --data {params.root:q} --output {output.survey:q} 2>&1"
        " | tee {log:q}"
