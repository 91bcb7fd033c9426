"""Backup and restore: `gmqtt backup FILE`, `gmqtt restore FILE`.

container   the file: header, encryption, compression, records, trailer
rows        what of the database is in it
stores      sessions, queues and retained messages, as records
making      from a platform, running or not, into a file
restoring   from a file into an empty platform
"""
