"""A key-value service that keeps its data in an append-only log.

- ``log``: records on disk, safe against a cut-off write.
- ``store``: the log, with its present state in memory.
- ``server``, ``client``: the store over TCP.
- ``daemon``: the server as a process of its own; what it runs is ``__main__``.
- ``workers``: jobs on several processes.
- ``report``: statistics of a log that need not fit into memory.
"""
