"""Sphinx configuration. `make docs` builds the site into site/; every warning is an error."""

import re
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path

from numpy.typing import ArrayLike
from sphinx.util.typing import stringify_annotation

project = "feyngd"
author = "the feyngd developers"
release = version = installed_version("feyngd")

extensions = [
    "myst_nb",  # Markdown pages and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["images", "**/.ipynb_checkpoints"]

# Markdown. The examples are run by the test suite, the notebooks are stored with their outputs: nothing runs here.
myst_enable_extensions = ["dollarmath", "amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"

# Mathematics: MathJax in one file, which needs no fonts and nothing from the network.
mathjax_file = Path(
    find_spec("sphinx-mathjax-offline").submodule_search_locations[0], "static", "mathjax", "tex-svg.js"
)
mathjax_path = mathjax_file.name
mathjax3_config = {"options": {"enableMenu": False}}

# Reference: public names only, sources through local pages.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
napoleon_use_rtype = False
napoleon_attr_annotations = False
viewcode_line_numbers = True
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
add_module_names = False

# The look.
html_theme = "sphinx_book_theme"
html_title = "feyngd"
html_static_path = ["_static", str(mathjax_file)]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}
html_copy_source = False
html_show_search_summary = False  # it reads the pages over HTTP; search itself also works from the file system
html_theme_options = {
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "home_page_in_toc": False,
    "navbar_persistent": [],  # the search button is in the side column already
}
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True


def drop_last_blank_lines(app, docname, source):
    """Doctest needs a blank line before the end of a block; a reader does not."""
    source[0] = source[0].replace("\n\n```\n", "\n```\n")


def keep_bars(app, what, name, obj, options, lines):
    """Docstrings write |x| for a norm or a size, which reStructuredText would take for a substitution."""
    lines[:] = [
        "`".join(text if code % 2 else text.replace("|", r"\|") for code, text in enumerate(line.split("`")))
        for line in lines
    ]


def shorten_types(app, domain, objtype, content):
    """Drop private modules and the types of results, which prose gives, and name ArrayLike, which is a long union."""
    union = stringify_annotation(ArrayLike, mode="smart")
    for types in app.env.current_document.autodoc_annotations.values():
        types.pop("return", None)
        for name, written in types.items():
            types[name] = re.sub(r"~?(?:\w+\.)*_\w+\.(?:\w+\.)*(?=\w)", "", written.replace(union, "ArrayLike"))


def mend_links_back(app, pagename, templatename, context, doctree):
    """Sources link back to one module for all their names; some are documented in another."""
    documented = app.env.get_domain("py").objects

    def mended(link):
        parts = link[1].split(".")
        names = (".".join(parts[start:]) for start in range(len(parts)))
        matches = (full for name in names for full in documented if f".{full}".endswith(f".{name}"))
        return f'#{documented[next(matches)].node_id}">[docs]'

    if pagename.startswith("_modules/feyngd"):
        context["body"] = re.sub(r'#([\w.]+)">\[docs\]', mended, context["body"])


def keep_outputs_out_of_the_way(app):
    """myst_nb copies notebooks' pictures into a folder beside the site; put it beside the doctrees."""
    folder = str(Path(app.doctreedir).parent / "notebook_outputs")
    app.env.mystnb_config = app.env.mystnb_config.copy(output_folder=folder)


def setup(app):
    app.connect("builder-inited", keep_outputs_out_of_the_way, priority=900)
    app.connect("source-read", drop_last_blank_lines)
    app.connect("html-page-context", mend_links_back)
    app.connect("object-description-transform", shorten_types, priority=400)
    app.connect("autodoc-process-docstring", keep_bars)
