"""From exported networks to the image of models in flash: ``python -m export NETWORK... --flash IMAGE``."""
