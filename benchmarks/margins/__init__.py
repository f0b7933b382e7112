"""Makes the page of timing margins: Fmax of a build over many seeds of place and route."""
