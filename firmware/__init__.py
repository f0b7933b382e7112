"""The host program, and what talks to the accelerator from a microcontroller."""
