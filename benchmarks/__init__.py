"""What reproduces the numbers of the README."""
