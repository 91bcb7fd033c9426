"""`manage.py gmqtt`: operators' scripts, as a client of the REST API.

A noun is a function `add(nouns)` in `nouns.py`, which makes its parser and sets `run` for each verb:
`run(api, out, options)`. To add one, write it and put it into `nouns.NOUNS`.
"""
