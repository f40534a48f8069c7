"""Mirror the repository's pages in the site, so that the same relative links work in both."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

TRACKS = ("mini", "coco")  # those with committed results
OUTSIDE = (
    "*.md",
    "CITATION.cff",
    "LICENSE",
    "docs/stylesheets/*.css",
    *(f"results/{track}/README.md" for track in TRACKS),
    *(f"results/{track}/*/{name}" for track in TRACKS for name in ("table.md", "*.png", "*.svg")),
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Move the pages of docs/ below ``docs/`` and add those that lie elsewhere."""
    root = Path(config.config_file_path).parent
    for file in list(files):
        if file.abs_src_path and Path(file.abs_src_path).is_relative_to(config.docs_dir):
            files.remove(file)
    inside = list(Path(config.docs_dir).rglob("*.md"))
    outside = [path for pattern in OUTSIDE for path in root.glob(pattern)]
    for path in sorted({*inside, *outside}):
        name = path.relative_to(root).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files
