"""The data: made where the track is synthetic, checked in any case."""

SPLITS = list(TRACK.content["data"]["splits"])
ANNOTATIONS = [str(TRACK.annotations(split)) for split in SPLITS]

if TRACK.synthetic:

    rule data:
        """Make the images and annotations of all splits."""
        output:
            ANNOTATIONS,
            [directory(str(TRACK.images(split))) for split in SPLITS],
        log:
            f"{RESULTS}/runs/logs/data.log",
        threads: workflow.cores or 1
        params:
            track=TRACK_NAME,
            root=TRACK.data_root,
        shell:
            "python -m icd data {params.track} --data {params.root} --workers {threads} 2>&1"
            " | tee {log}"


rule check:
    """Check the annotations; count classes and sizes; compute the priors of fake instances."""
    input:
        ANNOTATIONS,
    output:
        SURVEY,
    log:
        f"{RESULTS}/runs/logs/check.log",
    params:
        track=TRACK_NAME,
        root=TRACK.data_root,
    shell:
        "python -m icd check {params.track} --data {params.root} --output {output} 2>&1"
        " | tee {log}"
