"""``python -m export NETWORK --into BUILD``: puts a network into a placed design, without place and route."""
