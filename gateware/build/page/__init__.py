"""The page of a build: all that is known of it as one file of HTML, ``report.html``, made by
``python -m gateware.build.page``.

``subject`` gathers what is known: the report of the build, and further evidence beside it. Each module of ``sections``
makes one section of that, of the parts in ``parts``; every number among them says how it is known (``levels``).
``rendering`` lays the sections out, ``comparison`` puts those of two builds side by side, and ``figures``, which alone
imports matplotlib, draws. Nothing here runs a tool or a simulation: what was not measured is named, with the command
that measures it.
"""
