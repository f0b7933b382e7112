"""Sphinx's configuration of the site; `docs.site.command` runs Sphinx, with the checkout on Python's path."""

project = "Sterna"
author = "The developers of Sterna"

extensions = [
    "myst_nb",               # pages in Markdown, and the tutorial, which is run
    "sphinx.ext.autodoc",    # the reference, from docstrings
    "docs.site.names",       # their names, as Python finds them
    "sphinx.ext.napoleon",   # their sections: Parameters, Returns, Raises
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
root_doc = "index"

# Links to sections are those of GitHub, down to the third level.
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True

# A section of the data sheet of a component.
napoleon_custom_sections = [("Members", "params_style")]
napoleon_google_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"exclude-members": "elaborate"}
# What docstrings write of ports is code.
rst_prolog = """
.. role:: py(code)
   :language: python
"""

html_theme = "furo"
html_title = "Sterna"
html_copy_source = False
html_show_sphinx = False
