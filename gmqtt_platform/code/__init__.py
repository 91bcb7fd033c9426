"""Configuration as code: `gmqtt plan FILE` and `gmqtt apply FILE`.

document   the YAML file, and where in it something stands
desired    what a file may say, checked
changes    the difference between that and the database, and how to make it
"""
