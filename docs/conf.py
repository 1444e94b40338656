"""The site of `docs/`: MyST Markdown, built by `make docs`. Nothing here asks the network."""

project = "aria-ray"
copyright = "the aria-ray authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "aria-ray"
html_show_sphinx = False
html_show_copyright = False
exclude_patterns = ["_build"]
root_doc = "index"

# Headings get anchors as on GitHub, so that a link works in both places.
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
