"""Searches the parameters of a recipe by trainings: ``python -m gateware.build.search``.

``space`` says what varies, ``trial`` checks and trains one recipe with the commands that a user gives, ``command`` lets
Optuna propose the next one and keeps what came of each.
"""
