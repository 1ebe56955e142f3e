"""When a device is to ask the cloud role: how sure it is, and what asking at which confidence gains and costs. Pure.

`scores`, `temperature`, `reliability` and `measuring` are for who makes a release, `rows` and `choosing` for who plans with one.
"""
