"""The node against Debian's mosquitto: one load generator, the same bytes and windows for both.

``python -m bench --help`` says how to run it; ``scenarios.py`` says what is run.
"""
