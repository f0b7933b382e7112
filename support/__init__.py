"""What knows nothing of spikes: command lines, files, provenance, and the tools of others."""
