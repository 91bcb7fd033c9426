"""Come from another broker: `gmqtt import mosquitto`, `gmqtt import emqx`.

found          what was found there, as rows of `gmqtt_platform.code`, and what has no counterpart here
mosquitto      password file and ACL file
dynsec         its dynamic-security plugin's JSON
mosquitto_db   retained messages of its persistence file
emqx           its data export
making         into this platform
"""
