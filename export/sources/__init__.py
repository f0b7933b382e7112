"""Where a network comes from that no training of Sterna has made: descriptions of other packages, and their rules."""
