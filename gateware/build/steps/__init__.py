"""The steps of a build, a file each, in the order of the flow; :mod:`gateware.build.steps.step` keeps their results."""
