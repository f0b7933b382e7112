"""Times a training's epoch from some of its steps, on made images."""
