"""Names of the libraries that compute COCO metrics; nothing heavy is imported here."""

EVALUATORS = ("hotcoco", "pycocotools")  # the first is the default
